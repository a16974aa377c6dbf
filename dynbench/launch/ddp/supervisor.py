"""One process's part of an order: a child process that makes the run with those of the other supervisors."""

import time
from functools import partial
from typing import Any

from dynbench.isolate.call import call
from dynbench.isolate.limits import ChildDied, ChildEnded
from dynbench.launch.ddp.rank import Rank
from dynbench.launch.ddp.store import Ending, GroupOrder, GroupStore
from dynbench.launch.isolated import pass_on, with_time_to_compile
from dynbench.observer import Observer
from dynbench.record.schema import Record
from dynbench.suite.schema import Limits

GRACE_SECONDS = 5
"""A process may take this long, after another one's failure, to fail by itself and say how."""


class _Stopped(Exception):  # noqa: N818  (named for what happened)
    """Another process has failed."""


class _FailureWatch:
    """Looks at the store while the child works. Raises _Stopped some time after a failure stands there."""

    def __init__(self, store: GroupStore, number: int) -> None:
        self._store, self._number = store, number
        self._seen: float | None = None

    def __call__(self) -> None:
        if self._seen is None:
            failure = self._store.failure(self._number)
            if failure is not None and failure.kind == "stopped":  # nobody wants to know
                raise _Stopped
            self._seen = time.monotonic() if failure else None
        if self._seen is not None and time.monotonic() - self._seen > GRACE_SECONDS:
            raise _Stopped


def supervise(order: GroupOrder, me: Rank, rendezvous: str, store: GroupStore, observer: Observer) -> Record | None:
    """Make the order's run in a child process and write to the store how it ended here.

    The record, finished or failed, if the child came to one.
    """
    from dynbench.launch.ddp.worker import produce_in_group

    record, ending = None, Ending(me.rank, "stopped")
    try:
        record = call(
            produce_in_group,
            order.run,
            order.context,
            me,
            f"{rendezvous}/{order.number}",
            limits=_share(with_time_to_compile(order.limits, order.run), me),
            answers=partial(_answer, store, order.number, me.rank, observer),
            log=order.context.results.output(order.run.run_id, me.rank),
            look=_FailureWatch(store, order.number),
        )
        ending = Ending(me.rank, "done") if record.status == "finished" else _failed(me.rank, record)
    except _Stopped:
        pass
    except ChildDied as error:
        ending = Ending(me.rank, "died", str(error))
    except ChildEnded as error:
        ending = Ending(me.rank, "failed", str(error))
    except Exception as error:  # for the user to fix, as a full disk
        ending = Ending(me.rank, "user", str(error))
    finally:
        store.end(order.number, ending)
    return record


def _failed(rank: int, record: Record) -> Ending:
    return Ending(rank, "failed", record.error or "", record.traceback)


def _share(limits: Limits, me: Rank) -> Limits:
    """Of one process: what the processes of a machine may take together, divided evenly."""
    memory = limits.memory_gib and limits.memory_gib / me.local_world
    return limits.model_copy(update={"memory_gib": memory, "memory_share": limits.memory_share / me.local_world})


def _answer(
    store: GroupStore, number: int, rank: int, observer: Observer, question: tuple[str, tuple[Any, ...]]
) -> None:
    from dynbench.launch.ddp.worker import FAILED

    name, arguments = question
    if name == FAILED:
        store.fail(number, Ending(rank, "failed", *arguments))
    else:
        pass_on(observer, question)
