"""What the describer tells of a live model, and the client of its process. Does not import torch."""
