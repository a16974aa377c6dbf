"""Feature Boosting and Suppression (Gao et al., arXiv 1810.05331)."""
