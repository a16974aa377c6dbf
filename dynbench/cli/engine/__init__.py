"""What `dynbench run` has its runs made by."""
