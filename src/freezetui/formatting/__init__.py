"""Plain text and JSON for the terminal."""
