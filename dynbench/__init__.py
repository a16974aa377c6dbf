"""dynbench: the benchmark harness for dynamic inference."""
