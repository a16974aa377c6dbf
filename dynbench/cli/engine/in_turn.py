"""The engine that makes one run after another."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from dynbench.cli.engine.engine import Runner
from dynbench.plan import Run, Suite

if TYPE_CHECKING:
    import torch
    from rich.console import Console

    from dynbench.cli.progress import Display
    from dynbench.context import Context
    from dynbench.latency.measure import Timer
    from dynbench.suite.schema import Limits


class InTurn:
    """One run after another on this machine, each in a process of its own."""

    def check(self, suite: Suite) -> None:
        pass

    def device(self, wanted: str) -> "torch.device":
        from dynbench.device import choose_device  # noqa: PLC0415

        return choose_device(wanted)

    def where(self, device: "torch.device", suite: Suite) -> str:  # noqa: ARG002
        return str(device)

    def progress(self, console: "Console") -> "Display":
        from dynbench.cli.progress import progress_for  # noqa: PLC0415

        return progress_for(console)

    def runner(self, runs: Sequence[Run], context: "Context", timer: "Timer | None", limits: "Limits") -> Runner:
        from dynbench.isolate.run import execute_isolated  # noqa: PLC0415
        from dynbench.suite_run import SuiteRunner  # noqa: PLC0415

        return SuiteRunner(runs, context, timer, partial(execute_isolated, limits=limits))

    def close(self) -> None:
        pass
