"""LAUDNet (Han et al., arXiv 2308.15949): latency-aware unified dynamic networks."""
