"""The launcher that makes each run on several processes.

The supervisors are threads here, or what torchrun has started.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from dynbench.context import Context
from dynbench.device import choose_device
from dynbench.errors import UserError
from dynbench.latency.timer import Timer
from dynbench.launch.ddp.leader import Leader, follow
from dynbench.launch.ddp.rank import Rank, check_devices
from dynbench.launch.ddp.store import join_store
from dynbench.launch.launcher import Launcher, Place
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
    """Yield the leader of `world` processes on this machine, as long as it is needed."""
    store = TCPStore(HERE, 0, is_master=True, wait_for_workers=False)
    ranks = [Rank(rank, world, rank, world, HERE, store.port) for rank in range(world)]
    threads = [threading.Thread(target=_follow, args=(me,), daemon=True) for me in ranks[1:]]
    for thread in threads:
        thread.start()
    try:
        with _leading(ranks[0], "dynbench", limits) as leader:
            yield leader
    finally:
        for thread in threads:
            thread.join(LAST_SECONDS)


def _follow(me: Rank) -> None:
    follow(me, "dynbench", join_store(me, "dynbench"))


@contextmanager
def torchrun_processes(me: Rank, limits: Limits) -> Iterator[Leader]:
    """Yield the leader of the processes that torchrun has started, of which this is the first."""
    with _leading(me, _rendezvous(), limits, host=_must_host()) as leader:
        yield leader


def follow_torchrun(me: Rank) -> None:
    """What any other of those processes does until the first one has no more to do."""
    follow(me, _rendezvous(), join_store(me, _rendezvous()))


@contextmanager
def _leading(me: Rank, rendezvous: str, limits: Limits, host: bool = False) -> Iterator[Leader]:
    leader = Leader(me, rendezvous, join_store(me, rendezvous, host), limits)
    try:
        yield leader
    finally:
        leader.close()


def _rendezvous() -> str:
    """After torchrun has started everybody again, nobody reads what was written before."""
    return f"dynbench/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"


def _must_host() -> bool:
    """Whether nobody else has put up the store; torchrun's agent says that it has."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"


class DdpLauncher(Launcher):
    """Makes one run after another, each on several processes.

    `processes` is this one's rank among torchrun's, or how many of our own there are.
    """

    def __init__(self, processes: Rank | int) -> None:
        self._processes = processes
        self._group = ExitStack()
        self._leader: Leader | None = None

    def place(self, suite: Suite) -> Place:
        size, world = suite.file.recipe.batch_size, self._world
        try:
            check_batch(size, world)
        except UserError as error:
            raise UserError(f"{suite.locator.at(('recipe', 'batch_size'))}: {error}") from error
        device = choose_device(suite.file.device)
        check_devices(device, self._processes.local_world if isinstance(self._processes, Rank) else self._processes)
        return Place(device, f"{world} processes, {size // world} images a step on each, with {device.type}")

    def launch(self, runs: Sequence[Run], context: Context, timer: Timer | None, limits: Limits) -> Sequence[str]:
        runner = SuiteRunner(runs, context, timer, self._lead(limits).execute)
        runner.run()
        return runner.left_out

    def _lead(self, limits: Limits) -> Leader:
        """The group's leader, the same for all launches: the others follow until there is nothing more to do."""
        if self._leader is None:
            mine = self._processes
            leading = torchrun_processes(mine, limits) if isinstance(mine, Rank) else local_processes(mine, limits)
            self._leader = self._group.enter_context(leading)
        return self._leader

    def close(self) -> None:
        if isinstance(self._processes, Rank):  # the others wait for orders, or for their end
            self._lead(DEFAULT_LIMITS)
        self._group.close()

    @property
    def _world(self) -> int:
        return self._processes.world if isinstance(self._processes, Rank) else self._processes
