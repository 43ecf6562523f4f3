"""From names to an nn.Module: recognise it, build it, fill it, find an input for it."""
