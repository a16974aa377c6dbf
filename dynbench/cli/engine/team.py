"""The engine that makes one run after another, each on several processes together."""

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from rich.console import Console

from dynbench.cli.progress import Display, progress_for
from dynbench.context import Context
from dynbench.device import choose_device
from dynbench.distributed.check import check_batch, check_devices
from dynbench.distributed.crew import local_crew, torchrun_crew
from dynbench.distributed.seat import Seat
from dynbench.errors import UserError
from dynbench.latency.measure import Timer
from dynbench.plan import Run, Suite
from dynbench.suite.schema import DEFAULT_LIMITS, Limits
from dynbench.suite_run import SuiteRunner


class Team:
    """`processes`: those of torchrun, in which this one has a seat, or so many of our own."""

    def __init__(self, processes: Seat | int) -> None:
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
        check_devices(device, self._processes.local_world if isinstance(self._processes, Seat) else self._processes)
        return device

    def where(self, device: torch.device, suite: Suite) -> str:
        each = suite.file.recipe.batch_size // self._world
        return f"{self._world} processes, {each} images a step on each, with {device.type}"

    def progress(self, console: Console) -> Display:
        return progress_for(console)

    def runner(self, runs: Sequence[Run], context: Context, timer: Timer | None, limits: Limits) -> SuiteRunner:
        seat = self._processes
        crew = torchrun_crew(seat, limits) if isinstance(seat, Seat) else local_crew(seat, limits)
        self._met = True
        return SuiteRunner(runs, context, timer, self._crew.enter_context(crew).execute)

    def close(self) -> None:
        if isinstance(self._processes, Seat) and not self._met:  # the others wait for orders, or for their end
            self._crew.enter_context(torchrun_crew(self._processes, DEFAULT_LIMITS))
        self._crew.close()

    @property
    def _world(self) -> int:
        return self._processes.world if isinstance(self._processes, Seat) else self._processes
