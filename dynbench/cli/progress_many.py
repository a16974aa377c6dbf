"""What `dynbench run` shows while several runs are under way: a bar each on a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from dynbench.cli.progress import Display, results_line, validated
from dynbench.cli.units import duration
from dynbench.plan import Run
from dynbench.record import EpochRecord, Record


@dataclass(frozen=True)
class _Stage:
    """What a run is at. `began`: in monotonic seconds, after `first` epochs."""

    epochs: int
    first: int
    steps: int
    began: float


def name_of(run: Run) -> str:
    return f"{run.label} ({run.built.name}, seed {run.seed})"


class ManyPlain(Display):
    """A line an epoch, each with its run's name: for logs."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._numbers: dict[str, int] = {}
        self._stages: dict[str, _Stage] = {}

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def run_started(self, run: Run) -> None:
        self._number += 1
        self._waiting = False
        self._numbers[run.run_id] = self._number

    def run_placed(self, run: Run, node: str) -> None:
        again = "again " if run.run_id in self._stages else ""
        self.say(f"[{self._numbers[run.run_id]}/{self._total}] {name_of(run)} {again}on {node}")

    def stage_started(self, run: Run, stage: str, epochs: int, done: int, steps: int) -> None:
        self._stages[run.run_id] = _Stage(epochs, done, steps, time.monotonic())
        if done:
            self.say(f"    {name_of(run)}: {stage}: going on after epoch {done}")

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

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        columns = (
            TextColumn("    {task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[stage]} {task.fields[epoch]} loss {task.fields[loss]} {task.fields[seen]}"),
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


def progress_for_many(console: Console) -> Display:
    """The display that suits the console."""
    return ManyBars(console) if console.is_terminal else ManyPlain(console)
