"""The first supervisor: gives the orders, and makes of what becomes of them a run's record."""

import time
from collections.abc import Sequence
from dataclasses import replace

from dynbench.context import Context
from dynbench.errors import UserError
from dynbench.execute import complete, failed
from dynbench.latency.timer import Timer
from dynbench.launch.ddp.rank import Rank
from dynbench.launch.ddp.store import Ending, GroupOrder, GroupStore
from dynbench.launch.ddp.supervisor import supervise
from dynbench.observer import Observer
from dynbench.plan.run import Run
from dynbench.record.schema import Record
from dynbench.suite.schema import Limits


def follow(me: Rank, rendezvous: str, store: GroupStore) -> None:
    """Do one order after another, until there are no more."""
    number = 0
    while order := store.order(number):
        supervise(order, me, rendezvous, store, Observer())
        number += 1


RESTARTS = 2
"""When a process dies, all are started again this often, and continue from the run's last checkpoint."""


class Leader:
    """Makes runs with a process group that waits for orders on the `store`."""

    def __init__(self, me: Rank, rendezvous: str, store: GroupStore, limits: Limits) -> None:
        self._me, self._rendezvous, self._store, self._limits = me, rendezvous, store, limits
        self._number = 0

    def execute(self, run: Run, context: Context, timer: Timer | None) -> Record:
        """Execute a run as `dynbench.execute.execute` does, on all processes of the group.

        What the plugin does costs this run only; a process that dies is started again, with the others. Raises
        UserError for what the user can fix on any machine.
        """
        started = time.time()
        for _ in range(RESTARTS + 1):
            record, endings = self._attempt(run, context)
            if record is not None or not any(one.kind == "died" for one in endings):
                break
        return complete(record or self._failed(run, context, started, endings), context, timer)

    def close(self) -> None:
        """No more orders; an order that is being worked on is given up."""
        self._store.fail(self._number - 1, Ending(self._me.rank, "stopped"))
        self._store.give(None, self._number)

    def _attempt(self, run: Run, context: Context) -> tuple[Record | None, list[Ending]]:
        """One order: the record that this process came to, unless another one's end decides; and how all ended."""
        number, self._number = self._number, self._number + 1
        order = GroupOrder(number, run, replace(context, observer=Observer()), self._limits)
        self._store.give(order, number)
        record = supervise(order, self._me, self._rendezvous, self._store, context.observer)
        endings = self._store.endings(number, self._me.world)
        for ending in endings:
            if ending.kind == "user":
                raise UserError(f"{_where(ending)}{ending.words}")
        return (record if self._decides(record, number, endings) else None), endings

    def _decides(self, record: Record | None, number: int, endings: Sequence[Ending]) -> bool:
        """A finished record stands unless the run failed somewhere.

        A failed one, when it failed here first, or for the same reason everywhere, and not because another process had
        died.
        """
        if record is None:
            return False
        kinds = {ending.kind for ending in endings}
        if record.status == "finished":
            return "failed" not in kinds
        first = self._store.failure(number)
        own = first is not None and (first.rank == self._me.rank or first.words == record.error)
        return own and "died" not in kinds

    def _failed(self, run: Run, context: Context, started: float, endings: Sequence[Ending]) -> Record:
        """The reason is the first process that died, or else the first that failed."""
        died = [ending for ending in endings if ending.kind == "died"]
        first = died[0] if died else self._store.failure(self._number - 1)
        assert first is not None
        return failed(run, context, started, f"{_where(first)}{first.words}", first.trace)


def _where(ending: Ending) -> str:
    return f"process {ending.rank}: "
