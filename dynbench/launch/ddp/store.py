"""What the supervisors of a process group write for each other."""

import pickle
import time
from dataclasses import dataclass
from typing import Any, Literal

from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from dynbench.context import Context
from dynbench.launch.ddp.rank import Rank
from dynbench.plan.run import Run
from dynbench.suite.schema import Limits

POLL_SECONDS = 0.2
"""Waiting is polling: a signal gets through, and a store's own waits end with its timeout."""

Kind = Literal["done", "failed", "died", "user", "stopped"]
"""How a process came to the end of an order. user: what the user can fix. stopped: because another one had failed."""


@dataclass(frozen=True)
class GroupOrder:
    """Number `number`, counted from 0: make this run together."""

    number: int
    run: Run
    context: Context
    limits: Limits


@dataclass(frozen=True)
class Ending:
    """What became of an order on the process `rank`."""

    rank: int
    kind: Kind
    words: str = ""
    trace: str | None = None


class GroupStore:
    """Orders and endings, in a store of torch.distributed that all supervisors reach."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def give(self, order: GroupOrder | None, number: int) -> None:
        """Write order number `number`; None: there will be no more."""
        self._set(f"{number}/order", order)

    def order(self, number: int) -> GroupOrder | None:
        """Wait for the order."""
        return self._wait(f"{number}/order")  # type: ignore[no-any-return]

    def fail(self, number: int, ending: Ending) -> None:
        """Everybody should stop working on this order; the first reason stays."""
        self._store.compare_set(f"{number}/over", "", _sealed(ending))

    def failure(self, number: int) -> Ending | None:
        """Return the first reason to stop."""
        key = f"{number}/over"
        return _opened(self._store.get(key)) if self._store.check([key]) else None

    def end(self, number: int, ending: Ending) -> None:
        """Tell that this process has come to the end of the order."""
        if ending.kind not in {"done", "stopped"}:
            self.fail(number, ending)
        self._set(f"{number}/end/{ending.rank}", ending)

    def endings(self, number: int, world: int) -> list[Ending]:
        """Wait for the endings of all processes, by rank."""
        return [self._wait(f"{number}/end/{rank}") for rank in range(world)]

    def _set(self, key: str, value: Any) -> None:
        self._store.set(key, _sealed(value))

    def _wait(self, key: str) -> Any:
        while not self._store.check([key]):
            time.sleep(POLL_SECONDS)
        return _opened(self._store.get(key))


def _sealed(value: Any) -> str:
    return pickle.dumps(value).hex()


def _opened(text: bytes) -> Any:
    return pickle.loads(bytes.fromhex(text.decode()))


def join_store(me: Rank, rendezvous: str, host: bool = False) -> GroupStore:
    """Return the store at this process's address, in a part of it for this `rendezvous`.

    `host`: it may have to be put up there, which torchrun has usually done.
    """
    store = TCPStore(me.host, me.port, is_master=host, wait_for_workers=False, multi_tenant=host)
    return GroupStore(PrefixStore(rendezvous, store))
