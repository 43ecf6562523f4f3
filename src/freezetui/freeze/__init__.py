"""Plans which parameters are frozen. Pure Python: names, numbers and booleans."""
