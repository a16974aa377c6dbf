"""The figures of a results folder, one a file."""
