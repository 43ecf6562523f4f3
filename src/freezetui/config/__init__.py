"""The freeze config on disk: its structure, its text, and how it meets a plan."""
