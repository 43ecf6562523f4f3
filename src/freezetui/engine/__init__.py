"""The process that runs a check: builds the model, trains it for a few steps and reports."""
