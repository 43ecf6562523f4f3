"""The command line. Does not import torch."""
