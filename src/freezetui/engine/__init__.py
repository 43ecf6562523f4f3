"""The check's process: it builds the model, trains it a few steps and reports."""
