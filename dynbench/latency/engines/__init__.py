"""Static engines: what a user would deploy the dense backbone on instead of a dynamic method. One a file.

To add one: a class here, and its line in `dynbench.suite.engines`.
"""
