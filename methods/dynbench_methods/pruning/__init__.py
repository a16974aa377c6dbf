"""Static pruning: L1 filter pruning (arXiv 1608.08710) and NISP (arXiv 1711.05908)."""
