"""Send to MLflow what it does not have yet, from the records."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal

from dynbench.errors import UserError
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder, RunTaken
from dynbench.record.schema import Record
from dynbench.tracking.location import Location, find_location, read_state
from dynbench.tracking.patience import SECONDS, Patience
from dynbench.tracking.plots import plots_are_there, send_plots
from dynbench.tracking.store import Store, TrackingFailed, how_to_sync

Outcome = Literal["sent", "there", "busy"]
GetStore = Callable[[Location], Store]


@dataclass(frozen=True)
class Synced:
    """How many records were sent, were in MLflow already, or are being run again by another process."""

    sent: int
    already: int
    busy: int


def sync(results: ResultsFolder, uri: str | None) -> Synced:
    """Send records and plots that MLflow lacks, and note it in the records.

    To `uri`, else MLFLOW_TRACKING_URI, else where each record says that it belongs, else a SQLite file in the results
    folder.

    Syncing again sends nothing again. Raises UserError when there is no record, when one belongs to a server or to a
    file elsewhere that nobody but the record has named, or when MLflow fails.
    """
    records = results.records()
    store = cache(partial(_store, results))
    try:
        outcomes = [_sync_record(results, record, _place(results, record, uri), store) for record in records]
        for suite, place in {record.run.suite: _place(results, record, uri) for record in records}.items():
            if not plots_are_there(results, suite, place):
                send_plots(results, suite, store(place))
    except TrackingFailed as error:
        raise UserError(f"{error}; what has been sent is noted, the same command sends the rest") from error
    return Synced(outcomes.count("sent"), outcomes.count("there"), outcomes.count("busy"))


def send_rest(results: ResultsFolder, runs: Sequence[Run], uri: str | None, seconds: float) -> str | None:
    """Send what an earlier command, which was killed or found MLflow silent, has left unsent of finished `runs`.

    Waits `seconds` in all. Returns what went wrong, in one line, or None; raises nothing. `uri` as for `Tracker`.
    """
    records = [record for run in runs if (record := results.read(run.run_id)) and _was_begun(results, record)]
    if not records:
        return None
    try:
        place, patience = find_location(results, uri), Patience(seconds)
        _send_all(results, records, place, patience)
    except UserError as error:
        return str(error)
    except TrackingFailed as error:
        return f"{error}; nothing is lost: `{how_to_sync(results, place)}` sends it later"
    return None


def _send_all(results: ResultsFolder, records: Sequence[Record], place: Location, patience: Patience) -> None:
    store = Store(place, patience)
    for record in records:
        _sync_record(results, record, place, lambda _: store, patience)


def _was_begun(results: ResultsFolder, record: Record) -> bool:
    """Whether a record was to be sent and was not. Of one made without tracking nothing speaks of MLflow.

    Where other processes make the runs, they write records that say nothing of MLflow yet; the state does.
    """
    tracked = record.tracked or read_state(results, record.run_id)
    return tracked is not None and not tracked.complete


def _store(results: ResultsFolder, place: Location) -> Store:
    if place.is_foreign:
        raise UserError(
            f"records of {results} say that they belong to {place.stored}, and somebody else may have written them; to "
            f"send them there: `{how_to_sync(results, place)}`"
        )
    return Store(place, Patience(SECONDS))


def _sync_record(
    results: ResultsFolder, record: Record, place: Location, store: GetStore, patience: Patience | None = None
) -> Outcome:
    if _is_there(record, place):
        return "there"
    try:
        with results.lock(record.run_id):  # a failed run may be done again just now
            record = _as_last_known(results, results.read(record.run_id) or record)
            _send(results, record, store(place), patience or Patience(SECONDS))
    except RunTaken:
        return "busy"
    return "sent"


def _as_last_known(results: ResultsFolder, record: Record) -> Record:
    """A run that was killed while it was timed has sent its epochs, and its record does not say so."""
    known = record.tracked or read_state(results, record.run_id)
    return record.model_copy(update={"tracked": known})


def _place(results: ResultsFolder, record: Record, uri: str | None) -> Location:
    return find_location(results, uri, record.tracked.uri if record.tracked else None)


def _is_there(record: Record, place: Location) -> bool:
    tracked = record.tracked
    return tracked is not None and tracked.complete and tracked.uri == place.stored and not place.is_missing


def _send(results: ResultsFolder, record: Record, store: Store, patience: Patience) -> None:
    """Send what is missing of one record; also when that fails, the record says how far it went."""
    opened = store.open(record.run, record.started, record.tracked, patience)
    try:
        opened.describe(record.run)
        opened.finish(record)
    finally:
        results.write_record(record.model_copy(update={"tracked": opened.tracked}))
