"""What the main screen is made of, one widget per file."""
