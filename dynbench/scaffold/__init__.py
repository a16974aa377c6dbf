"""A package to start a method from: `dynbench new` writes it."""
