"""What a recipe's names stand for: optimizers, learning rates over time, averaging of weights."""
