"""Wall-clock latency of executors: each in its own process, on real images, the dense backbone timed in between."""
