"""What the weights say: checkpoints compared bit for bit, values, and whether all data is there."""
