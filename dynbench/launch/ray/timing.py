"""Latencies of runs that were made on many nodes: taken here, one after another, when no run is under way.

Declared choices: a run that trains beside it would be in the figure, so that timing waits for all of them; and
latencies of different machines are never compared, so that all are of one machine, the driver's.
"""

from collections.abc import Sequence

from dynbench.context import Context
from dynbench.errors import AuditFailed, UserError
from dynbench.execute import failed
from dynbench.latency.timer import Timer
from dynbench.plan.run import Run
from dynbench.record.folder import RunTaken
from dynbench.record.schema import Record


def time_runs(runs: Sequence[Run], context: Context, timer: Timer) -> None:
    """Time those of the runs that are finished, were audited and have no latency; their records are written again.

    What cannot be timed stays as it is, and the observer hears of it.
    """
    for run in runs:
        if not _wants_timing(context.results.read(run.run_id)):
            continue
        try:
            with context.results.lock(run.run_id):
                _time(run, context, timer)
        except RunTaken:
            context.observer.timing_failed(run, "another process works on it")
        except UserError as error:
            context.observer.timing_failed(run, str(error))


def _wants_timing(record: Record | None) -> bool:
    if record is None or record.status != "finished":
        return False
    return any(point.latency is None and point.audit_images for point in record.points)


def _time(run: Run, context: Context, timer: Timer) -> None:
    """Whose lock we hold."""
    record = context.results.read(run.run_id)
    if record is None or not _wants_timing(record):
        return
    if not context.results.weights(run.run_id).is_file():
        raise UserError("its trained weights are not there")
    context.observer.timing_started(run)
    try:
        record = timer.time(record)
    except AuditFailed as error:
        record = failed(run, context, record.started, str(error))
    context.results.write_record(context.observer.run_timed(record))
