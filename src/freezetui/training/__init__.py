"""The API for training scripts: applies a freeze config to a live model, and guards it."""
