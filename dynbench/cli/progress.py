"""What `dynbench run` shows while it works: bars on a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.progress import BarColumn, Progress, TaskID, TimeRemainingColumn

from dynbench.analysis.words import duration, short_macs
from dynbench.cli.console import SafeConsole, plain_column
from dynbench.cli.terminal import as_message
from dynbench.observer import Observer
from dynbench.plan.run import Run
from dynbench.record.schema import EpochRecord, Record


def results_line(record: Record) -> str:
    """Return one line on a run that is over."""
    if record.status == "failed" or not record.points:
        return f"failed: {as_message(record.error or '')}"
    point = record.points[0]
    share = point.macs.mean / record.macs_dense
    speed = record.budget.images_per_second
    trained = f", trained at {speed:,.0f} images/s" if speed else ""
    return f"test {point.test_top1:.2f} %, {short_macs(point.macs.mean)} MACs ({share:.0%} of dense){trained}"


def validated(history: Sequence[EpochRecord]) -> str:
    """Return the newest look at the validation split."""
    seen = next((epoch for epoch in reversed(history) if epoch.val_top1 is not None), None)
    return "" if seen is None else f"val {seen.val_top1:.2f} %, {short_macs(seen.val_macs or 0)} MACs"


class Display(Observer):
    """Knows which run of how many this is."""

    def __init__(self, console: SafeConsole) -> None:
        self.console = console
        self._total = self._number = 0
        self._waiting = False

    def suite_started(self, runs: Sequence[Run], finished: Sequence[Run]) -> None:
        self._total, self._number = len(runs), len(finished)

    def run_started(self, run: Run) -> None:
        """Print the run's number and label."""
        self._number += 1
        self._waiting = False
        self.console.print(
            f"[{self._number}/{self._total}] {run.label} ({run.built.name}, seed {run.seed})",
            soft_wrap=True,
        )

    def timing_started(self, run: Run) -> None:
        self.console.print("    timing")

    def timing_failed(self, run: Run, reason: str) -> None:
        self.console.print(f"    not timed: {reason}", soft_wrap=True)

    def run_finished(self, record: Record) -> Record:
        self.console.print(f"    {results_line(record)}", soft_wrap=True)
        return record

    def waiting(self, run: Run) -> None:
        if not self._waiting:
            self.console.print(f"waiting for another process that is doing {run.label}")
        self._waiting = True

    def close(self) -> None:
        """Leave the terminal as it was; also after an error or Ctrl-C."""


class PlainProgress(Display):
    """A line an epoch: for logs."""

    def __init__(self, console: SafeConsole) -> None:
        super().__init__(console)
        self._epochs = 0
        self._first = 0
        self._started = 0.0

    def stage_started(self, run: Run, stage: str, epochs: int, done: int, steps: int) -> None:
        self._epochs, self._first, self._started = epochs, done, time.monotonic()
        if done:
            self.console.print(f"    {stage}: continuing after epoch {done}")

    def epoch_finished(self, run: Run, history: Sequence[EpochRecord]) -> None:
        last = history[-1]
        done = last.epoch + 1
        left = (time.monotonic() - self._started) / (done - self._first) * (self._epochs - done)
        seen = validated(history[-1:])
        self.console.print(
            f"    {last.stage} {done}/{self._epochs} loss {last.loss:.3f}{' ' if seen else ''}{seen}, "
            f"{duration(left)} left",
        )


class RichProgress(Display):
    """A bar a stage, with loss, validation accuracy, mean MACs and time left."""

    def __init__(self, console: SafeConsole) -> None:
        super().__init__(console)
        columns = (
            plain_column("    {task.description}"),
            BarColumn(bar_width=20),
            plain_column("{task.fields[epoch]} loss {task.fields[loss]} {task.fields[seen]}"),
            TimeRemainingColumn(compact=True),
        )
        self._bars = Progress(*columns, console=console, transient=True, speed_estimate_period=600)
        self._task: TaskID | None = None
        self._epochs = self._steps = 0

    def stage_started(self, run: Run, stage: str, epochs: int, done: int, steps: int) -> None:
        self.close()
        self._epochs, self._steps = epochs, steps
        self._bars.start()
        self._task = self._bars.add_task(
            stage, total=epochs * steps, completed=done * steps, epoch=f"{done}/{epochs}", loss="-", seen=""
        )

    def steps_done(self, epoch: int, step: int, loss: float) -> None:
        if self._task is not None:
            done = epoch * self._steps + step
            self._bars.update(self._task, completed=done, epoch=f"{epoch + 1}/{self._epochs}", loss=f"{loss:.3f}")

    def epoch_finished(self, run: Run, history: Sequence[EpochRecord]) -> None:
        if self._task is not None:
            self._bars.update(self._task, seen=validated(history))

    def timing_started(self, run: Run) -> None:
        self.close()
        super().timing_started(run)

    def run_finished(self, record: Record) -> Record:
        self.close()
        return super().run_finished(record)

    def close(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._bars.stop()
            self._task = None


@dataclass(frozen=True)
class _Stage:
    """What a run is at. `began`: in monotonic seconds, after `first` epochs."""

    epochs: int
    first: int
    steps: int
    began: float


def name_of(run: Run) -> str:
    """Return the run's label with its backbone and seed."""
    return f"{run.label} ({run.built.name}, seed {run.seed})"


class ManyPlain(Display):
    """A line an epoch, each with its run's name: for logs."""

    def __init__(self, console: SafeConsole) -> None:
        super().__init__(console)
        self._numbers: dict[str, int] = {}
        self._stages: dict[str, _Stage] = {}

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, soft_wrap=True)

    def run_started(self, run: Run) -> None:
        """Note the run's number."""
        self._number += 1
        self._waiting = False
        self._numbers[run.run_id] = self._number

    def run_placed(self, run: Run, node: str) -> None:
        again = "again " if run.run_id in self._stages else ""
        self.say(f"[{self._numbers[run.run_id]}/{self._total}] {name_of(run)} {again}on {node}")

    def stage_started(self, run: Run, stage: str, epochs: int, done: int, steps: int) -> None:
        self._stages[run.run_id] = _Stage(epochs, done, steps, time.monotonic())
        if done:
            self.say(f"    {name_of(run)}: {stage}: continuing after epoch {done}")

    def epoch_finished(self, run: Run, history: Sequence[EpochRecord]) -> None:
        last, stage = history[-1], self._stages[run.run_id]
        done = last.epoch + 1
        left = (time.monotonic() - stage.began) / max(1, done - stage.first) * (stage.epochs - done)
        seen = validated(history[-1:])
        self.say(
            f"    {name_of(run)}: {last.stage} {done}/{stage.epochs} loss {last.loss:.3f}{' ' if seen else ''}{seen}, "
            f"{duration(left)} left"
        )

    def timing_started(self, run: Run) -> None:
        self.say(f"    {name_of(run)}: timing")

    def timing_failed(self, run: Run, reason: str) -> None:
        self.say(f"    {name_of(run)}: not timed: {reason}")

    def run_finished(self, record: Record) -> Record:
        self.say(f"    {name_of(record.run)}: {results_line(record)}")
        return record

    def run_timed(self, record: Record) -> Record:
        if record.status == "failed":
            self.say(f"    {name_of(record.run)}: {results_line(record)}")
        return record


class ManyBars(ManyPlain):
    """A bar for each run under way, with its stage, loss, validation accuracy, mean MACs and time left."""

    def __init__(self, console: SafeConsole) -> None:
        super().__init__(console)
        columns = (
            plain_column("    {task.description}"),
            BarColumn(bar_width=20),
            plain_column("{task.fields[stage]} {task.fields[epoch]} loss {task.fields[loss]} {task.fields[seen]}"),
            TimeRemainingColumn(compact=True),
        )
        self._bars = Progress(*columns, console=console, transient=True, speed_estimate_period=600)
        self._tasks: dict[str, TaskID] = {}

    def stage_started(self, run: Run, stage: str, epochs: int, done: int, steps: int) -> None:
        super().stage_started(run, stage, epochs, done, steps)
        self._remove(run)
        self._bars.start()
        self._tasks[run.run_id] = self._bars.add_task(
            name_of(run),
            total=epochs * steps,
            completed=done * steps,
            stage=stage,
            epoch=f"{done}/{epochs}",
            loss="-",
            seen="",
        )

    def steps_done_of(self, run: Run, epoch: int, step: int, loss: float) -> None:
        task, stage = self._tasks.get(run.run_id), self._stages[run.run_id]
        if task is not None:
            done = epoch * stage.steps + step
            self._bars.update(task, completed=done, epoch=f"{epoch + 1}/{stage.epochs}", loss=f"{loss:.3f}")

    def epoch_finished(self, run: Run, history: Sequence[EpochRecord]) -> None:
        task, stage = self._tasks.get(run.run_id), self._stages[run.run_id]
        if task is not None:
            last = history[-1]
            self._bars.update(
                task, completed=(last.epoch + 1) * stage.steps, loss=f"{last.loss:.3f}", seen=validated(history)
            )

    def run_finished(self, record: Record) -> Record:
        self._remove(record.run)
        return super().run_finished(record)

    def _remove(self, run: Run) -> None:
        task = self._tasks.pop(run.run_id, None)
        if task is not None:
            self._bars.remove_task(task)
        if not self._tasks:
            self._bars.stop()

    def close(self) -> None:
        self._bars.stop()


def progress_for(console: SafeConsole, several: bool) -> Display:
    """Return the display that suits the console, of runs one after another or of `several` at once."""
    bars, lines = (ManyBars, ManyPlain) if several else (RichProgress, PlainProgress)
    return bars(console) if console.is_terminal else lines(console)
