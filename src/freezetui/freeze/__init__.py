"""Which parameters are frozen. Pure: names, numbers and booleans."""
