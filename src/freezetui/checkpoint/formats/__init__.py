"""Checkpoints of one file: format detection, and a reader for each format."""
