"""What a training script imports: a freeze config applied to a live model, and guarded."""
