"""From names to an nn.Module: recognize it, build it, fill it, find an input for it."""
