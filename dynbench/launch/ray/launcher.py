"""The engine that spreads runs over a Ray cluster, or over this machine by the same code."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from rich.console import Console

from dynbench.cli.progress import Display, progress_for_many
from dynbench.context import Context
from dynbench.latency.timer import Timer
from dynbench.launch.ray.cluster import Cluster, import_ray
from dynbench.launch.ray.messages import Order
from dynbench.launch.ray.pool import RayPool
from dynbench.launch.ray.resources import Fanout
from dynbench.launch.ray.runner import FanoutRunner
from dynbench.plan.expand import Suite
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.suite.schema import Limits

THREADS = "OMP_NUM_THREADS"


class RayLauncher:
    """Connects when it is first asked for something that only the cluster knows."""

    def __init__(self, fanout: Fanout) -> None:
        """Raises UserError when Ray is not installed."""
        import_ray()
        self._fanout = fanout
        self._pool: RayPool | None = None
        self._device = "cpu"

    @cached_property
    def _cluster(self) -> Cluster:
        return Cluster(self._fanout)

    def check(self, suite: Suite) -> None:
        pass

    def device(self, wanted: str) -> torch.device:
        self._device = self._cluster.device(wanted)
        self._cluster.size(self._device)
        return torch.device(self._device)

    def where(self, device: torch.device, suite: Suite) -> str:  # noqa: ARG002
        slots, nodes = self._cluster.slots(self._cluster.size(self._device)), len(self._cluster.nodes())
        return f"{device}, {slots} at once" + (f" on {nodes} nodes" if nodes > 1 else "")

    def progress(self, console: Console) -> Display:
        return progress_for_many(console)

    def runner(self, runs: Sequence[Run], context: Context, timer: Timer | None, limits: Limits) -> FanoutRunner:
        size = self._cluster.size(self._device)
        self._pool = RayPool(self._cluster, size)
        order = Order(
            run=runs[0],
            results=ResultsFolder(context.results.path.resolve()),
            token=context.results.token(),
            data_root=context.data_root and context.data_root.resolve(),
            evaluation=context.evaluation,
            limits=limits,
            device=self._device,
            command=context.command,
            commit=context.commit,
            folder=Path.cwd(),
            environment=_environment(size.cpus),
        )
        return FanoutRunner(runs, context, timer, self._pool, order)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
        if "_cluster" in vars(self):
            self._cluster.close()


def _environment(cpus: int) -> dict[str, str]:
    """What runs have of the driver's environment: a run's threads are its cores, unless the driver was told."""
    own = {name: value for name, value in os.environ.items() if name.startswith("DYNBENCH_")}
    return {**own, THREADS: os.environ.get(THREADS, str(cpus))}
