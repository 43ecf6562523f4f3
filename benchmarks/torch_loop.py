"""What people write today: load, and print whether each tensor requires grad."""

import sys

import torch

for name, tensor in torch.load(sys.argv[1], map_location="cpu", weights_only=True).items():
    print(name, tensor.requires_grad)
print("done")
