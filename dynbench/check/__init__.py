"""Records against a baseline: what a merge may not make worse."""
