"""Training: stages, epochs and steps, checkpoints, the budget."""
