"""What was timed: raw samples, and the figures that are made from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dynbench.record.schema import EngineRecord, Latency, Timing, times_the_macs


def with_engines(latency: Latency, engines: Sequence[EngineRecord]) -> Latency:
    """Return the latency, with the engines and `realised_best` at the batch sizes that they were timed at."""
    timings = tuple(_against_fastest(timing, engines) for timing in latency.timings)
    return latency.model_copy(update={"engines": tuple(engines), "timings": timings})


def _against_fastest(timing: Timing, engines: Sequence[EngineRecord]) -> Timing:
    """Return the timing with `realised_best`, against the fastest engine.

    The fastest engine's dense time is eager PyTorch's, timed beside the method, times what that engine took of eager
    PyTorch's when these two were timed beside each other: no figure is carried from one process to another except as a
    ratio. Eager PyTorch is one of the engines; alone it proves nothing, and the figure stays empty.
    """
    shares = [(at.of_eager, engine.name) for engine in engines for at in engine.timings if at.batch == timing.batch]
    if len(shares) < 2:  # noqa: PLR2004
        return timing
    share, name = min(shares)
    return timing.model_copy(update={"realised_best": timing.realised * share, "best_engine": name})


@dataclass(frozen=True)
class Samples:
    """Milliseconds of every call: float64 (rounds, calls).

    Column i is always the same images, so that a dynamic method's row is one whole pass over the subset, whatever the
    order in which it was taken.
    """

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
    """Return (dense time / method time) / (dense MACs / method MACs), on the same images.

    1 means that every saved MAC was saved time.
    """
    return (dense.mean / method.mean) / times_the_macs(dense_macs, method_macs)
