"""The supervisors of a team: threads here, or the processes that torchrun has started."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from dynbench.distributed.board import join_board
from dynbench.distributed.follow import follow
from dynbench.distributed.lead import Leader
from dynbench.distributed.seat import Seat
from dynbench.suite.schema import Limits

HERE = "127.0.0.1"
LAST_SECONDS = 5
"""So long the followers' threads are waited for at the end; what they leave ends with this process."""


@contextmanager
def local_crew(world: int, limits: Limits) -> Iterator[Leader]:
    """The leader of `world` processes on this machine, as long as it is needed."""
    store = TCPStore(HERE, 0, is_master=True, wait_for_workers=False)
    seats = [Seat(rank, world, rank, world, HERE, store.port) for rank in range(world)]
    threads = [threading.Thread(target=_follow, args=(seat,), daemon=True) for seat in seats[1:]]
    for thread in threads:
        thread.start()
    try:
        with _leading(seats[0], "dynbench", limits) as leader:
            yield leader
    finally:
        for thread in threads:
            thread.join(LAST_SECONDS)


def _follow(seat: Seat) -> None:
    follow(seat, "dynbench", join_board(seat, "dynbench"))


@contextmanager
def torchrun_crew(seat: Seat, limits: Limits) -> Iterator[Leader]:
    """The leader of the processes that torchrun has started, of which this is the first."""
    with _leading(seat, _meeting(), limits, host=_must_host()) as leader:
        yield leader


def follow_torchrun(seat: Seat) -> None:
    """What any other of those processes does until the first one has no more to do."""
    follow(seat, _meeting(), join_board(seat, _meeting()))


@contextmanager
def _leading(seat: Seat, meeting: str, limits: Limits, host: bool = False) -> Iterator[Leader]:
    leader = Leader(seat, meeting, join_board(seat, meeting, host), limits)
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
