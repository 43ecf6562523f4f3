"""Checkpoints of several files: directories, shards, the config.json beside them."""
