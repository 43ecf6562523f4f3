"""The freeze config on disk: its structure, its text, and its conversion from and to a plan."""
