"""What the keys of the main screen do, by topic: `MainScreen` is made of these classes."""
