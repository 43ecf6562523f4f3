"""Inputs from strangers, made from a seed: what is written, and what opening it must come to."""
