"""Sends every run to MLflow while it runs."""

import math
import time
from collections.abc import Callable, Sequence

from dynbench.errors import UserError
from dynbench.observer import Observer
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import EpochRecord, Record, Tracked
from dynbench.tracking.location import find_location, read_state, write_state
from dynbench.tracking.patience import SECONDS, Patience
from dynbench.tracking.store import NO_RUN, MlflowRun, Store, TrackingFailed, how_to_sync

BRIEF_SECONDS = 3.0
"""What fails within costs nothing to try again."""
QUIET_SECONDS = 300.0
"""After a wait in vain nothing is tried for so long."""


class Tracker(Observer):
    """Nothing that goes wrong with MLflow reaches the run.

    After a failure it is left alone until the run ends, and for minutes where the failure took time; all that is waited
    for in a run is `seconds`. `problem` says in one line what happened and what to do; None once everything is there.
    """

    def __init__(self, results: ResultsFolder, uri: str | None, seconds: float = SECONDS) -> None:
        """`uri`: the suite's; None: MLFLOW_TRACKING_URI, else a SQLite file in the results folder."""
        self._seconds = seconds
        self._patience: dict[str, Patience] = {}
        self._quiet_until = -math.inf
        self.problem: str | None = None
        self._results = results
        self._place = find_location(results, uri)
        self._store: Store | None = None
        self._open: dict[str, MlflowRun] = {}
        self._tracked: dict[str, Tracked] = {}
        self._incomplete: set[str] = set()

    def run_started(self, run: Run) -> None:
        """Begin the run in MLflow, or continue it."""
        self._open.pop(run.run_id, None)
        self._tracked[run.run_id] = self._known(run)
        started = time.time()
        self._attempt(run, lambda: self._start(run, started))

    def epoch_finished(self, run: Run, history: Sequence[EpochRecord]) -> None:
        opened = self._open.get(run.run_id)
        if opened is not None:
            self._attempt(run, lambda: self._send(opened, run, history))

    def run_finished(self, record: Record) -> Record:
        run_id = record.run_id
        self._tracked.setdefault(run_id, self._known(record.run))
        self._attempt(record.run, lambda: self._finish(record))
        self._open.pop(run_id, None)
        if self._tracked[run_id].complete:
            self._incomplete.discard(run_id)
            self.problem = self.problem if self._incomplete else None
        else:
            self._incomplete.add(run_id)
        return record.model_copy(update={"tracked": self._tracked[run_id]})

    def run_timed(self, record: Record) -> Record:
        """Opened again: it has finished once."""
        self._tracked[record.run_id] = self._known(record.run)
        return self.run_finished(record)

    @property
    def is_quiet(self) -> bool:
        """Whether MLflow is left alone just now: it was waited for in vain."""
        return time.monotonic() < self._quiet_until

    def _known(self, run: Run) -> Tracked:
        """What was sent of the run before it was interrupted, or the last time that it was done."""
        known = read_state(self._results, run.run_id) or self._recorded(run)
        if known is None or known.uri != self._place.stored:
            return Tracked(uri=self._place.stored, run_id=NO_RUN)
        return known.model_copy(update={"complete": False})

    def _recorded(self, run: Run) -> Tracked | None:
        try:
            record = self._results.read(run.run_id)
        except UserError:
            return None
        return record.tracked if record else None

    def _start(self, run: Run, started: float) -> None:
        patience = self._patience.setdefault(run.run_id, Patience(self._seconds))
        self._store = self._store or Store(self._place, patience)
        opened = self._store.open(run, started, self._tracked[run.run_id], patience)
        self._open[run.run_id] = opened
        write_state(self._results, run.run_id, opened.tracked)
        opened.describe(run)

    def _send(self, opened: MlflowRun, run: Run, history: Sequence[EpochRecord]) -> None:
        opened.send_epochs(history)
        write_state(self._results, run.run_id, opened.tracked)

    def _finish(self, record: Record) -> None:
        if record.run_id not in self._open:
            self._start(record.run, record.started)
        self._open[record.run_id].finish(record)

    def _attempt(self, run: Run, action: Callable[[], None]) -> None:
        """Do it, remember what was sent, and note what went wrong."""
        if self.is_quiet:
            self._open.pop(run.run_id, None)
            return
        failure: Exception | None = None
        started = time.monotonic()
        try:
            action()
        except (TrackingFailed, UserError) as error:
            failure = error
        opened = self._open.get(run.run_id)
        if opened is not None:
            self._tracked[run.run_id] = opened.tracked
        if failure is not None:
            self._open.pop(run.run_id, None)
            if time.monotonic() - started > BRIEF_SECONDS:
                self._quiet_until = time.monotonic() + QUIET_SECONDS
            self.problem = f"{failure}; nothing is lost: `{how_to_sync(self._results, self._place)}` sends it later"
