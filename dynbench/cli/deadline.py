"""`dynbench run --minutes`: stops at the end of an epoch, when what is done is on disk."""

import time
from collections.abc import Sequence

from dynbench.observer import Observer
from dynbench.plan.run import Run
from dynbench.record.schema import EpochRecord, Record

WORK_LEFT = 3
"""Exit code of a command that stopped in time."""


class TimeIsUpError(KeyboardInterrupt):
    """Ends everything as Ctrl-C does: nothing on the way takes it for a failure of the run."""


class Deadline(Observer):
    """Stops a command when its time is over.

    Raises TimeIsUpError after the first epoch that ends, or before the first run that begins, later than `minutes` from
    now. There is always an epoch, or the end of a run, in between, however many runs begin at once, so that the same
    command gets further when it is given again.
    """

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes
        self._got_on = False

    def run_started(self, run: Run) -> None:
        """Stop when the time is over and something was done before."""
        if self._got_on:
            self._check()

    def run_finished(self, record: Record) -> Record:
        self._got_on = True
        return record

    def epoch_finished(self, run: Run, history: Sequence[EpochRecord]) -> None:
        self._check()

    def _check(self) -> None:
        if time.monotonic() > self._end:
            raise TimeIsUpError
