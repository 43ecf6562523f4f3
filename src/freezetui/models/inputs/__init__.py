"""An input that a model accepts: from its library, its own example, its source, its layers, its errors."""
