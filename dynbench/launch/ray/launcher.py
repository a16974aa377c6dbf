"""The launcher that spreads runs over a Ray cluster, or over this machine by the same code."""

import os
from collections.abc import Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path

import torch

from dynbench.context import Context
from dynbench.latency.timer import Timer
from dynbench.launch.launcher import Launcher, Place
from dynbench.launch.ray.cluster import Cluster, Fanout, import_ray
from dynbench.launch.ray.messages import Order
from dynbench.launch.ray.pool import RayPool
from dynbench.launch.ray.runner import FanoutRunner
from dynbench.plan.expand import Suite
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.suite.schema import Limits

THREADS = "OMP_NUM_THREADS"


class RayLauncher(Launcher):
    """Makes several runs at once. Connects when it is first asked for something that only the cluster knows."""

    def __init__(self, fanout: Fanout) -> None:
        """Raises UserError when Ray is not installed."""
        import_ray()
        self._fanout = fanout

    @cached_property
    def _cluster(self) -> Cluster:
        return Cluster(self._fanout)

    def place(self, suite: Suite) -> Place:
        device = self._cluster.device(suite.file.device)
        slots, nodes = self._cluster.slots(self._cluster.size(device)), len(self._cluster.nodes())
        words = f"{device}, {slots} at once" + (f" on {nodes} nodes" if nodes > 1 else "")
        return Place(torch.device(device), words, several=True)

    def launch(self, runs: Sequence[Run], context: Context, timer: Timer | None, limits: Limits) -> Sequence[str]:
        size = self._cluster.size(context.device.type)
        pattern = Order(
            run=runs[0],
            results=ResultsFolder(context.results.path.resolve()),
            token=context.results.token(),
            data_root=context.data_root and context.data_root.resolve(),
            evaluation=context.evaluation,
            limits=limits,
            device=context.device.type,
            command=context.command,
            commit=context.commit,
            folder=Path.cwd(),
            environment=_environment(size.cpus),
        )
        with closing(RayPool(self._cluster, size)) as pool:
            runner = FanoutRunner(runs, context, timer, pool, pattern)
            runner.run()
        return runner.left_out

    def close(self) -> None:
        if "_cluster" in vars(self):
            self._cluster.close()


def _environment(cpus: int) -> dict[str, str]:
    """What runs have of the driver's environment: a run's threads are its cores, unless the driver was told."""
    own = {name: value for name, value in os.environ.items() if name.startswith("DYNBENCH_")}
    return {**own, THREADS: os.environ.get(THREADS, str(cpus))}
