"""One run from its plan to its record: build, train (or continue training), evaluate, write down."""

import time
import traceback
from pathlib import Path

from dynbench.backbones import build_backbone
from dynbench.backbones.weights import save_weights
from dynbench.build import build_model, data_for
from dynbench.context import Context
from dynbench.cost import dense_macs
from dynbench.data import dataset_info, load_data
from dynbench.data.split import Data
from dynbench.device import fp32_is_fp32, usable_precision
from dynbench.errors import AuditFailed, TrainingDiverged, UserError, describe, shortened
from dynbench.evaluation.measure import Arrays, measure
from dynbench.evaluation.trained import Trained
from dynbench.guards.blame import is_of_plugin
from dynbench.guards.side_effects import watched
from dynbench.guards.tampering import own_formulas, seal, verify
from dynbench.latency.timer import Timer
from dynbench.plan.run import Run
from dynbench.record.machine import describe_machine
from dynbench.record.schema import Budget, Record, StageBudget
from dynbench.registry import find, load_method
from dynbench.train.budget import assumed_training_macs
from dynbench.train.session import Session


def execute(run: Run, context: Context, timer: Timer | None = None) -> Record:
    """Do one run and write its record, which says so when the run failed; time it, when there is a `timer`.

    The caller holds the run's lock.

    Raises UserError for what the user can fix (no data, no space); nothing is recorded then.
    """
    return complete(produce(run, context), context, timer)


def produce(run: Run, context: Context) -> Record:
    """Train and evaluate one run; its record is written, finished or failed.

    Of several processes the first one writes, and the others' records have no results.
    """
    fp32_is_fp32()
    seal()  # in a process of its own that is before the plugin is imported
    started = time.time()
    try:
        record, arrays = _finished(run, context)
    except (TrainingDiverged, AuditFailed) as error:
        record, arrays = failed(run, context, started, str(error)), {}
    except (Exception, SystemExit) as error:  # a plugin may raise anything; it costs its own run only
        if isinstance(error, UserError) and not is_of_plugin(error, load_method(run.method)):
            raise
        record, arrays = failed(run, context, started, describe(error), traceback.format_exc()), {}
    if context.processes.first:
        context.results.write_record(record, arrays)
    return record


def complete(record: Record, context: Context, timer: Timer | None = None) -> Record:
    """Time a run that is produced, when there is a `timer`, tell the observer, and write down what they add.

    What was trained is safe, however that ends.
    """
    if timer is not None and record.status == "finished":
        try:
            record = _timed(record, context, timer)
        except AuditFailed as error:
            record = failed(record.run, context, record.started, str(error))
    record = context.observer.run_finished(record)
    context.results.write_record(record)
    if record.status == "finished":
        context.results.clean_up(record.run_id)
    return record


def _timed(record: Record, context: Context, timer: Timer) -> Record:
    """The record with its latencies, or as it was when they cannot be taken: a run that is not timed is finished."""
    context.observer.timing_started(record.run)
    try:
        return timer.time(record)
    except (UserError, OSError) as error:
        context.observer.timing_failed(record.run, str(error))
        return record


def _finished(run: Run, context: Context) -> tuple[Record, Arrays]:
    with watched("while it was made"):
        method = run.make_method()
    spec = run.data.model_copy(update={"root": context.data_root})
    data = load_data(spec)
    with watched("when it was asked whether it calibrates"):
        data = data_for(method, data)
    model = build_model(run, method, data, context)
    journal = Session(run, method, model, data, context).train()
    verify("after training")
    points, arrays = measure(Trained.in_run(run, method, model, data, context), data, run.run_id)
    verify("after evaluation")
    if context.processes.first:
        save_weights(model, context.weights(run.run_id))
    record = _record(run, context, journal.started).model_copy(
        update={
            "budget": Budget(stages=journal.stages, pretrained=_pretrained(run, data, context)),
            "history": journal.history,
            "points": points,
            "own_formulas": own_formulas(),
        }
    )
    return record, arrays


def _pretrained(run: Run, data: Data, context: Context) -> tuple[StageBudget, ...]:
    """The budget of the weights that the run started from."""
    if run.start is None:
        return ()
    if run.start.run_id is not None:
        dense = context.results.read(run.start.run_id)
        return dense.budget.stages if dense else ()
    # A file's recipe is unknown: whole epochs of this training split.
    images = run.start.epochs * len(data.train)
    macs = assumed_training_macs(images, dense_macs(build_backbone(run.built, data.shape, data.num_classes)))
    name = f"file:{Path(run.start.file or '').name}"
    return (StageBudget(name=name, epochs=run.start.epochs, images=images, train_macs=macs, seconds=0.0),)


def _record(run: Run, context: Context, started: float) -> Record:
    """A finished record without its results."""
    info = dataset_info(run.data)
    return Record(
        run_id=run.run_id,
        status="finished",
        run=run,
        macs_dense=dense_macs(build_backbone(run.backbone, info.shape, info.num_classes)),
        budget=Budget(stages=()),
        plugin=find(run.method).distribution,
        static=load_method(run.method).static,
        machine=describe_machine(str(context.device), usable_precision(run.recipe.precision, context.device)),
        world_size=context.processes.world,
        commit=context.commit,
        command=context.command,
        started=started,
        finished=time.time(),
    )


LONGEST_ERROR, LONGEST_TRACE = 2_000, 20_000
"""Characters, in a record."""


def failed(run: Run, context: Context, started: float, summary: str, trace: str | None = None) -> Record:
    """Return the record of a run that failed, for the reason in `summary`.

    What a plugin says at length is shortened.
    """
    shown = None if trace is None else shortened(trace, LONGEST_TRACE)
    update = {"status": "failed", "error": shortened(summary, LONGEST_ERROR), "traceback": shown}
    return _record(run, context, started).model_copy(update=update)
