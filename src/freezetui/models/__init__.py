"""Builds an nn.Module for a checkpoint, loads the weights and finds an input for it."""
