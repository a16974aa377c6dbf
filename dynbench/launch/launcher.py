"""What makes the runs of a suite, as `dynbench run` sees it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from dynbench.plan.expand import Suite
from dynbench.plan.run import Run

if TYPE_CHECKING:
    import torch

    from dynbench.context import Context
    from dynbench.latency.timer import Timer
    from dynbench.suite.schema import Limits


@dataclass(frozen=True)
class Place:
    """Where a launcher makes runs: on `device`; `words` say so for people, with how many are made at once.

    `several`: whether more than one may.
    """

    device: "torch.device"
    words: str
    several: bool = False


class Launcher(ABC):
    """Makes runs; as a context manager, it is left with nothing of it running."""

    @abstractmethod
    def place(self, suite: Suite) -> Place:
        """Say where the suite's runs would be made.

        Raises UserError when they cannot be made in this way, or when the device that it asks for is not there.
        """

    @abstractmethod
    def launch(self, runs: Sequence[Run], context: "Context", timer: "Timer | None", limits: "Limits") -> Sequence[str]:
        """Make those of the `runs` that are not finished, each tried once, and with a `timer` time them.

        Records are written as runs end. Returns a line for each run that could not start because the one that it starts
        from failed.

        Raises UserError, when all others are done, for what the user has to fix.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027  (most have nothing to end)
        """End what is still running."""
