"""Wall-clock latency of executors, each in a process of its own, on real images, the dense backbone timed in between."""
