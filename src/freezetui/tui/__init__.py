"""The Textual face. Never imports torch."""
