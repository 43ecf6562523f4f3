"""What builds a checkpoint's model, told from names, shapes and configs. Knows no torch."""
