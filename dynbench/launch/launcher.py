"""What `dynbench run` asks of whatever makes its runs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from dynbench.plan.expand import Suite
from dynbench.plan.run import Run

if TYPE_CHECKING:
    import torch
    from rich.console import Console

    from dynbench.cli.progress import Display
    from dynbench.context import Context
    from dynbench.latency.timer import Timer
    from dynbench.record.schema import Record
    from dynbench.suite.schema import Limits


class Runner(Protocol):
    """As `dynbench.launch.sequential.SuiteRunner`."""

    left_out: list[str]

    def add(self, runs: Sequence[Run]) -> None: ...

    def run(self) -> "tuple[Record, ...]": ...


class Launcher(Protocol):
    """Makes runs."""

    def check(self, suite: Suite) -> None:
        """Raises UserError when the suite cannot be made in this way."""

    def device(self, wanted: str) -> "torch.device":
        """The device that the suite asks for. Raises UserError when it is not there."""

    def where(self, device: "torch.device", suite: Suite) -> str:
        """On what and how many at once, in words, for the line that tells the plan."""

    def progress(self, console: "Console") -> "Display":
        """The view of runs that suits it."""

    def runner(self, runs: Sequence[Run], context: "Context", timer: "Timer | None", limits: "Limits") -> Runner: ...

    def close(self) -> None:
        """Leave nothing running."""
