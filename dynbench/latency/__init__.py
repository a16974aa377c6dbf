"""Wall-clock latency of executors: in a fresh process, on real images, with the dense backbone timed in between."""
