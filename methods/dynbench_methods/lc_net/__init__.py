"""LC-Net, and its parts L-Net and C-Net (Xia et al., arXiv 2007.15151)."""
