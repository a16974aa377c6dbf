"""Convolutions of a batch in which every image has its own list of active channels: Triton, on CUDA."""
