"""Kernels of our own, whose FLOPs follow from the shapes that they are called with."""
