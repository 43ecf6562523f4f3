"""The state of an open checkpoint: its tree, plan and config. Does not import widgets."""
