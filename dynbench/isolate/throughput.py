"""How fast runs would be, when it is the plugins of anyone that are tried."""

import torch

from dynbench.isolate.call import call
from dynbench.isolate.child import Ask
from dynbench.isolate.watch import ChildEnded
from dynbench.plan import Run
from dynbench.suite.schema import Evaluation, Limits
from dynbench.throughput import Throughput, measure_throughput


def measure_isolated(run: Run, evaluation: Evaluation, device: torch.device, limits: Limits) -> Throughput | str:
    """`dynbench.throughput.measure_throughput` in a child process; the reason when it ends otherwise."""
    try:
        found: Throughput = call(_measure, run, evaluation, device, limits=limits)
    except (ChildEnded, OSError) as error:
        return str(error)
    return found


def _measure(_ask: Ask, run: Run, evaluation: Evaluation, device: torch.device) -> Throughput:
    return measure_throughput(run, evaluation, device)
