"""Sends every run to MLflow while it goes on."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dynbench.errors import UserError
from dynbench.events import Observer
from dynbench.plan import Run
from dynbench.record import EpochRecord, Record, Tracked, find_record
from dynbench.tracking.place import find_place
from dynbench.tracking.state import read_state, write_state
from dynbench.tracking.store import NO_RUN, MlflowRun, Store, TrackingFailed, sync_command


class Tracker(Observer):
    """Nothing that goes wrong with MLflow reaches the run: after a failure it is left alone until the run
    ends, and `problem` says in one line what happened and what to do; None once everything is there."""

    def __init__(self, results: Path, uri: str | None) -> None:
        """`uri`: the suite's; None: MLFLOW_TRACKING_URI, else a SQLite file in the results folder."""
        self.problem: str | None = None
        self._results = results
        self._place = find_place(results, uri)
        self._store: Store | None = None
        self._open: MlflowRun | None = None
        self._tracked = Tracked(uri=self._place.stored, run_id=NO_RUN)
        self._incomplete = 0

    def run_started(self, run: Run) -> None:
        self._open = None
        self._tracked = self._known(run)
        started = time.time()
        self._attempt(lambda: self._start(run, started))

    def epoch_finished(self, run: Run, history: Sequence[EpochRecord]) -> None:
        opened = self._open
        if opened is not None:
            self._attempt(lambda: self._send(opened, run, history))

    def run_finished(self, record: Record) -> Record:
        self._attempt(lambda: self._finish(record))
        if not self._tracked.complete:
            self._incomplete += 1
        elif self._incomplete == 0:
            self.problem = None
        return record.model_copy(update={"tracked": self._tracked})

    def _known(self, run: Run) -> Tracked:
        """What was sent of the run before it was interrupted, or the last time that it was done."""
        known = read_state(self._results, run.run_id) or self._recorded(run)
        if known is None or known.uri != self._place.stored:
            return Tracked(uri=self._place.stored, run_id=NO_RUN)
        return known.model_copy(update={"complete": False})

    def _recorded(self, run: Run) -> Tracked | None:
        try:
            record = find_record(self._results, run.run_id)
        except UserError:
            return None
        return record.tracked if record else None

    def _start(self, run: Run, started: float) -> None:
        self._store = self._store or Store(self._place)
        self._open = self._store.open(run, started, self._tracked)
        write_state(self._results, run.run_id, self._open.tracked)
        self._open.describe(run)

    def _send(self, opened: MlflowRun, run: Run, history: Sequence[EpochRecord]) -> None:
        opened.send_epochs(history)
        write_state(self._results, run.run_id, opened.tracked)

    def _finish(self, record: Record) -> None:
        if self._open is None:
            self._start(record.run, record.started)
        assert self._open is not None
        self._open.finish(record)

    def _attempt(self, action: Callable[[], None]) -> None:
        """Do it, remember what was sent, and note what went wrong."""
        failure: Exception | None = None
        try:
            action()
        except (TrackingFailed, UserError) as error:
            failure = error
        if self._open is not None:
            self._tracked = self._open.tracked
        if failure is not None:
            self._open = None
            self.problem = f"{failure}; nothing is lost: `{sync_command(self._results)}` sends it later"
