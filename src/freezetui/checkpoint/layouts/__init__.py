"""Several files as one checkpoint: directories, shards, the config.json beside them."""
