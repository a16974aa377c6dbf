"""A method against the fastest engine that its dense backbone could be deployed on instead."""

from collections.abc import Sequence

from dynbench.record import EngineRecord, Latency, Timing


def with_engines(latency: Latency, engines: Sequence[EngineRecord]) -> Latency:
    """The latency, with the engines and `realised_best` at the batch sizes that they were timed at."""
    timings = tuple(_against_the_fastest(timing, engines) for timing in latency.timings)
    return latency.model_copy(update={"engines": tuple(engines), "timings": timings})


def _against_the_fastest(timing: Timing, engines: Sequence[EngineRecord]) -> Timing:
    """The fastest engine's dense time is eager PyTorch's, timed beside the method, times what that engine took of
    eager PyTorch's when these two were timed beside each other: no figure is carried from one process to another but
    as a ratio. Eager PyTorch is one of the engines; alone it proves nothing, and the figure stays empty."""
    shares = [(at.of_eager, engine.name) for engine in engines for at in engine.timings if at.batch == timing.batch]
    if len(shares) < 2:  # noqa: PLR2004
        return timing
    share, name = min(shares)
    return timing.model_copy(update={"realised_best": timing.realised * share, "best_engine": name})
