"""The command line. Never imports torch."""
