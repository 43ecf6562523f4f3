"""What the describer says about a live model, and the client of its process. Does not import torch."""
