"""Methods that cheat, one kind a file: what every run must catch."""
