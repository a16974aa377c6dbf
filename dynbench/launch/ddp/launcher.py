"""The supervisors of a process group: threads here, or the processes that torchrun has started."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from rich.console import Console
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from dynbench.cli.progress import Display, progress_for
from dynbench.context import Context
from dynbench.device import choose_device
from dynbench.errors import UserError
from dynbench.latency.timer import Timer
from dynbench.launch.ddp.leader import Leader, follow
from dynbench.launch.ddp.rank import Rank
from dynbench.launch.ddp.requirements import check_devices
from dynbench.launch.ddp.store import join_store
from dynbench.launch.sequential import SuiteRunner
from dynbench.plan.expand import Suite
from dynbench.plan.run import Run
from dynbench.process_group import check_batch
from dynbench.suite.schema import DEFAULT_LIMITS, Limits

HERE = "127.0.0.1"
LAST_SECONDS = 5
"""So long the followers' threads are waited for at the end; what they leave ends with this process."""


@contextmanager
def local_processes(world: int, limits: Limits) -> Iterator[Leader]:
    """The leader of `world` processes on this machine, as long as it is needed."""
    store = TCPStore(HERE, 0, is_master=True, wait_for_workers=False)
    seats = [Rank(rank, world, rank, world, HERE, store.port) for rank in range(world)]
    threads = [threading.Thread(target=_follow, args=(seat,), daemon=True) for seat in seats[1:]]
    for thread in threads:
        thread.start()
    try:
        with _leading(seats[0], "dynbench", limits) as leader:
            yield leader
    finally:
        for thread in threads:
            thread.join(LAST_SECONDS)


def _follow(seat: Rank) -> None:
    follow(seat, "dynbench", join_store(seat, "dynbench"))


@contextmanager
def torchrun_processes(seat: Rank, limits: Limits) -> Iterator[Leader]:
    """The leader of the processes that torchrun has started, of which this is the first."""
    with _leading(seat, _meeting(), limits, host=_must_host()) as leader:
        yield leader


def follow_torchrun(seat: Rank) -> None:
    """What any other of those processes does until the first one has no more to do."""
    follow(seat, _meeting(), join_store(seat, _meeting()))


@contextmanager
def _leading(seat: Rank, meeting: str, limits: Limits, host: bool = False) -> Iterator[Leader]:
    leader = Leader(seat, meeting, join_store(seat, meeting, host), limits)
    try:
        yield leader
    finally:
        leader.close()


def _meeting() -> str:
    """After torchrun has started everybody again, nobody reads what was written before."""
    return f"dynbench/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"


def _must_host() -> bool:
    """Whether nobody else has put up the store; torchrun's agent says that it has."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"


class DdpLauncher:
    """`processes`: those of torchrun, in which this one has a seat, or so many of our own."""

    def __init__(self, processes: Rank | int) -> None:
        self._processes = processes
        self._crew = ExitStack()
        self._met = False

    def check(self, suite: Suite) -> None:
        """Raises UserError when a step cannot be divided among the processes."""
        try:
            check_batch(suite.file.recipe.batch_size, self._world)
        except UserError as error:
            raise UserError(f"{suite.locator.at(('recipe', 'batch_size'))}: {error}") from error

    def device(self, wanted: str) -> torch.device:
        device = choose_device(wanted)
        check_devices(device, self._processes.local_world if isinstance(self._processes, Rank) else self._processes)
        return device

    def where(self, device: torch.device, suite: Suite) -> str:
        each = suite.file.recipe.batch_size // self._world
        return f"{self._world} processes, {each} images a step on each, with {device.type}"

    def progress(self, console: Console) -> Display:
        return progress_for(console)

    def runner(self, runs: Sequence[Run], context: Context, timer: Timer | None, limits: Limits) -> SuiteRunner:
        seat = self._processes
        crew = torchrun_processes(seat, limits) if isinstance(seat, Rank) else local_processes(seat, limits)
        self._met = True
        return SuiteRunner(runs, context, timer, self._crew.enter_context(crew).execute)

    def close(self) -> None:
        if isinstance(self._processes, Rank) and not self._met:  # the others wait for orders, or for their end
            self._crew.enter_context(torchrun_processes(self._processes, DEFAULT_LIMITS))
        self._crew.close()

    @property
    def _world(self) -> int:
        return self._processes.world if isinstance(self._processes, Rank) else self._processes
