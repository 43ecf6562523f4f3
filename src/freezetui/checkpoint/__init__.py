"""Path to `Checkpoint`: reads headers only, runs nothing a file names, knows no torch."""
