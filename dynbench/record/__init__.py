"""The record of a run: its schema, where it lies, what it was made on."""
