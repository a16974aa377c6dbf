"""What a recipe's options do: optimizers that PyTorch lacks, averages of weights, image sizes, initialisation."""
