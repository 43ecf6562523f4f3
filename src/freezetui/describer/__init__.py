"""The describer's process: builds a library's model on the meta device and describes it. Imports torch."""
