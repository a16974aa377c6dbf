"""What a recipe's names stand for: optimizers that PyTorch does not have as they are needed here."""
