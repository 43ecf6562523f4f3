"""The Textual UI. Never imports torch."""
