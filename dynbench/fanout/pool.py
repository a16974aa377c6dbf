"""Where orders are carried out, as the runner sees it."""

from typing import Protocol

from dynbench.fanout.node import Fetch
from dynbench.fanout.order import Answer, Message, Order


class Pool(Protocol):
    """Nodes that make runs."""

    def slots(self) -> int:
        """How many runs can be under way at once, just now."""

    def submit(self, order: Order, fetch: Fetch) -> None:
        """Have the order carried out, again elsewhere when its node is lost."""

    def messages(self) -> list[Message]:
        """The events since the last call, each run's in their order."""

    def wait(self, seconds: float) -> list[Answer]:
        """The orders that have ended; returns as soon as there is one."""
