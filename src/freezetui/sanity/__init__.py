"""The check's outside: its messages, its report and the client of its process. Knows no torch."""
