"""What was timed: raw samples, and the figures that are made from them."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Samples:
    """Milliseconds of every call: float64 (rounds, calls). Column i is always the same images, so that a dynamic
    method's row is one whole pass over the subset, whatever the order in which it was taken."""

    ms: np.ndarray

    @property
    def typical(self) -> np.ndarray:
        """Median over rounds of each call's time, (calls,): what the images cost, without the machine's hiccups."""
        return np.asarray(np.median(self.ms, axis=0))

    @property
    def mean(self) -> float:
        """Mean over images of their typical time, in milliseconds."""
        return float(self.typical.mean())

    def percentile(self, q: float) -> float:
        """Percentile of all raw samples, in milliseconds."""
        return float(np.percentile(self.ms, q))


def realised(dense: Samples, method: Samples, dense_macs: float, method_macs: float) -> float:
    """(dense time / method time) / (dense MACs / method MACs), on the same images: 1 means that every saved MAC was
    saved time."""
    return (dense.mean / method.mean) / (dense_macs / method_macs)
