"""What is open: the checkpoint, the plan and its config. Knows no widgets."""
