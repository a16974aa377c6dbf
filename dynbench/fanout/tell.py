"""A run's events on their way to the driver."""

import time
from collections.abc import Callable, Sequence

from dynbench.events import Observer
from dynbench.fanout.order import Message
from dynbench.plan import Run
from dynbench.record import EpochRecord

STEP_SECONDS = 0.5
"""Steps are told no more often."""

Tell = Callable[[Message], None]


class Teller(Observer):
    """Sends what happens to one run; of the steps, enough for a display."""

    def __init__(self, run: Run, tell: Tell) -> None:
        self._run, self._tell = run, tell
        self._told = 0.0

    def run_placed(self, run: Run, node: str) -> None:
        self._send("run_placed", run, node)

    def stage_started(self, run: Run, stage: str, epochs: int, done: int, steps: int) -> None:
        self._send("stage_started", run, stage, epochs, done, steps)

    def steps_done(self, epoch: int, step: int, loss: float) -> None:
        now = time.monotonic()
        if now - self._told >= STEP_SECONDS:
            self._told = now
            self._send("steps_done_of", self._run, epoch, step, loss)

    def epoch_finished(self, run: Run, history: Sequence[EpochRecord]) -> None:
        self._send("epoch_finished", run, history)

    def _send(self, name: str, *arguments: object) -> None:
        self._tell(Message(self._run.run_id, name, arguments))
