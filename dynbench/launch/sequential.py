"""Every run of a suite, in order, sharing the work with other processes on the same results folder."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from dynbench.context import Context
from dynbench.errors import UserError
from dynbench.latency.timer import Timer
from dynbench.launch.launcher import Launcher, Place
from dynbench.plan.expand import Suite
from dynbench.plan.run import Run
from dynbench.record.folder import RunTaken
from dynbench.record.schema import Record

if TYPE_CHECKING:
    from dynbench.suite.schema import Limits


WAIT_SECONDS = 0.5

Execute = Callable[[Run, Context, Timer | None], Record]
"""Does one run whose lock is held, and writes its record."""


def execute_here(run: Run, context: Context, timer: Timer | None) -> Record:
    """Execute a run in this process: a plugin that crashes it ends the suite."""
    from dynbench.execute import execute

    return execute(run, context, timer)


def left_out_line(run: Run, needed: str) -> str:
    """Return why a run could not start."""
    return f"{run.label} ({run.built.name}, seed {run.seed}) starts from {needed}, which failed"


def raise_problems(problems: Sequence[UserError]) -> None:
    """Raise the first, if there is any."""
    if problems:
        others = len(problems) - 1
        raise UserError(f"{problems[0]}{f' (and {others} more runs failed in the same way)' if others else ''}")


class SuiteRunner:
    """Runs what is not finished. Each run is done by whichever process holds its lock, and tried once."""

    def __init__(
        self, runs: Sequence[Run], context: Context, timer: Timer | None = None, execute: Execute = execute_here
    ) -> None:
        """With a `timer`, every run that is finished here is timed."""
        self._runs, self._context, self._timer, self._execute = runs, context, timer, execute
        self._tried: set[str] = set()
        self._problems: list[UserError] = []
        self.left_out: list[str] = []
        """One line for each run that could not start because the one that it needs failed."""

    def run(self) -> tuple[Record, ...]:
        """Do everything, then return the records of all runs.

        When a run meets something that the user has to fix, the others are done first; then the UserError is raised.
        """
        while waiting := self._waiting():
            tried = [self._try(run) for run in waiting]
            if not any(tried):
                self._context.observer.waiting(waiting[0])
                time.sleep(WAIT_SECONDS)
        raise_problems(self._problems)
        return self._context.results.records_of(self._runs)

    def _waiting(self) -> list[Run]:
        """Runs that this process has not tried and nobody has finished."""
        return [run for run in self._context.results.unfinished(self._runs) if run.run_id not in self._tried]

    def _try(self, run: Run) -> bool:
        """Do `run`, unless another process has it or the run that it starts from is not there yet. False: not now."""
        try:
            with self._context.results.lock(run.run_id):
                return self._do(run)
        except RunTaken:
            return False
        except UserError as error:
            self._give_up(run, error)
        return True

    def _do(self, run: Run) -> bool:
        """Do `run`, whose lock we hold."""
        if not self._context.results.is_unfinished(run, self._runs):  # another process finished it just now
            return True
        needed = run.needs()
        if needed is not None and not self._context.weights(needed).is_file():
            return self._leave_out(run, needed) if self._is_lost(needed) else False
        self._context.observer.run_started(run)
        self._execute(run, self._context, self._timer)
        self._tried.add(run.run_id)
        return True

    def _is_lost(self, needed: str) -> bool:
        """Whether nobody is left to make the run `needed`: it was tried here, or is none of ours and not there."""
        return needed in self._tried or all(run.run_id != needed for run in self._runs)

    def _leave_out(self, run: Run, needed: str) -> bool:
        self._tried.add(run.run_id)
        self.left_out.append(left_out_line(run, needed))
        return True

    def _give_up(self, run: Run, problem: UserError) -> None:
        self._tried.add(run.run_id)
        self._problems.append(problem)


class SequentialLauncher(Launcher):
    """Makes one run after another on this machine, each in a process of its own."""

    def place(self, suite: Suite) -> Place:
        from dynbench.device import choose_device

        device = choose_device(suite.file.device)
        return Place(device, str(device))

    def launch(self, runs: Sequence[Run], context: Context, timer: Timer | None, limits: "Limits") -> Sequence[str]:
        from dynbench.launch.isolated import execute_isolated

        runner = SuiteRunner(runs, context, timer, partial(execute_isolated, limits=limits))
        runner.run()
        return runner.left_out
