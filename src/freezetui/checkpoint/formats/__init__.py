"""One file: which format it is in, and a reader for each format."""
