"""Latencies of runs that were made on many nodes: taken here, one after another, when no run is under way.

Declared choices: a run that trains beside it would be in the figure, so that timing waits for all of them; and
latencies of different machines are never compared, so that all are of one machine, the driver's.
"""

from collections.abc import Sequence

from filelock import FileLock, Timeout

from dynbench.context import Context
from dynbench.errors import AuditFailed, UserError
from dynbench.execute import failed
from dynbench.latency.timer import Timer
from dynbench.plan.run import Run
from dynbench.record.folder import weights_path, work_folder
from dynbench.record.schema import Record
from dynbench.record.store import find_record, write_record


def time_runs(runs: Sequence[Run], context: Context, timer: Timer) -> None:
    """Time those of the runs that are finished, were audited and have no latency; their records are written anew. What
    cannot be timed stays as it is, and the observer hears of it."""
    for run in runs:
        if not _wants_timing(find_record(context.results, run.run_id)):
            continue
        try:
            with FileLock(work_folder(context.results, run.run_id) / "lock", timeout=0):
                _time(run, context, timer)
        except (UserError, OSError) as error:  # Timeout too: another process has it
            reason = "another process works on it" if isinstance(error, Timeout) else str(error)
            context.observer.timing_failed(run, reason)


def _wants_timing(record: Record | None) -> bool:
    if record is None or record.status != "finished":
        return False
    return any(point.latency is None and point.audit_images for point in record.points)


def _time(run: Run, context: Context, timer: Timer) -> None:
    """Whose lock we hold."""
    record = find_record(context.results, run.run_id)
    if record is None or not _wants_timing(record):
        return
    if not weights_path(context.results, run.run_id).is_file():
        raise UserError("its trained weights are not there")
    context.observer.timing_started(run)
    try:
        record = timer.time(record)
    except AuditFailed as error:
        record = failed(run, context, record.started, str(error))
    write_record(context.results, context.observer.run_timed(record))
