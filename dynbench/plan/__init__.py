"""From a suite to its runs."""
