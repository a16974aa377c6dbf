"""BlockDrop (Wu et al., arXiv 1711.08393)."""
