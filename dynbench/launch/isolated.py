"""One run in a child process, its events passed on to the observer here."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from dynbench.context import Context
from dynbench.execute import complete, failed, produce
from dynbench.isolate.call import call
from dynbench.isolate.child import Ask
from dynbench.isolate.limits import ChildEnded
from dynbench.latency.timer import Timer
from dynbench.observer import Observer
from dynbench.plan.run import Run
from dynbench.record.schema import EpochRecord, Record
from dynbench.suite.schema import Limits


def execute_isolated(run: Run, context: Context, timer: Timer | None, limits: Limits) -> Record:
    """Execute a run so that whatever its plugin does costs this run only.

    As `dynbench.execute.execute`, though the plugin may crash, hang, exit or take all memory; what it prints goes to a
    file of the run's work folder. Latency is taken from here: its workers are processes of their own.
    """
    return complete(train_isolated(run, context, limits), context, timer)


def train_isolated(run: Run, context: Context, limits: Limits) -> Record:
    """Produce a record as `dynbench.execute.produce` does, in a child process.

    The record of a child that ended early is not written.
    """
    started = time.time()
    alone = replace(context, observer=Observer())
    limits = with_time_to_compile(limits, run)
    log = context.results.output(run.run_id)
    try:
        trained: Record = call(_produce, run, alone, limits=limits, answers=partial(pass_on, context.observer), log=log)
    except ChildEnded as error:
        trained = failed(run, context, started, str(error))
    return trained


COMPILE_MINUTES = 60
"""Of silence are allowed where the recipe compiles, unless the suite says something else: a compiler gives no signs."""


def with_time_to_compile(limits: Limits, run: Run) -> Limits:
    """Return the limits of the process that makes the run."""
    if not run.recipe.compile or limits.silence_minutes is not None:
        return limits
    return limits.model_copy(update={"silence_minutes": COMPILE_MINUTES})


def _produce(ask: Ask, run: Run, context: Context) -> Record:
    """In the child."""
    return produce(run, replace(context, observer=Remote(ask)))


def pass_on(observer: Observer, question: tuple[str, tuple[Any, ...]]) -> None:
    """What a `Remote` in the child process tells."""
    name, arguments = question
    getattr(observer, name)(*arguments)


class Remote(Observer):
    """Tells the parent process what happens while a run is trained."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def stage_started(self, run: Run, stage: str, epochs: int, done: int, steps: int) -> None:
        self._ask(("stage_started", (run, stage, epochs, done, steps)))

    def steps_done(self, epoch: int, step: int, loss: float) -> None:
        self._ask(("steps_done", (epoch, step, loss)))

    def epoch_finished(self, run: Run, history: Sequence[EpochRecord]) -> None:
        self._ask(("epoch_finished", (run, history)))
