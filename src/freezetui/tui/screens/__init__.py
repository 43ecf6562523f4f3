"""The modal screens and what they show."""
