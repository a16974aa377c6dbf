"""Kernels of our own: convolutions that compute and read the active channels only. C++, compiled once a machine."""
