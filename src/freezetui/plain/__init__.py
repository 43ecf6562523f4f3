"""What the face says in plain text: numbers, the tree, the report."""
