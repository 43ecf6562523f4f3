"""Reads weights: compares checkpoints bit for bit, computes statistics, and validates data."""
