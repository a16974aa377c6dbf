"""Records -> a baseline."""

from collections.abc import Iterator, Sequence

import numpy as np

from dynbench.check.baseline import (
    Baseline,
    BaselineConfiguration,
    BaselineLatency,
    BaselineMacs,
    BaselinePoint,
    BaselineRun,
    pack_flags,
)
from dynbench.check.compared import ComparedRuns, by_identity
from dynbench.errors import UserError
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Latency, PointRecord, Record, Timing
from dynbench.suite.schema import CheckRules

Arrays = dict[str, np.ndarray]


def make_baseline(
    results: ResultsFolder, records: Sequence[Record], rules: CheckRules, command: str, simulated: bool = False
) -> Baseline:
    """Make a baseline of every run in `results`.

    `simulated`: also of those that have no executor, or were not audited.

    Raises UserError when a run failed, was not audited, or its per-image arrays are missing, and when it cannot be told
    which of two runs is the later one: a check could not tell that from what it looks for.
    """
    found = by_identity(records)
    for doubt in (doubt for configuration in found.values() for doubt in configuration.doubtful.values()):
        raise UserError(doubt)
    runs = [record for configuration in found.values() for record in configuration.records.values()]
    _check_sound(runs, simulated)
    return Baseline(
        command=command,
        rules=rules,
        configurations=tuple(_configuration(results, configuration) for configuration in found.values()),
    )


def _check_sound(records: Sequence[Record], simulated: bool) -> None:
    failed = next((record for record in records if record.status == "failed"), None)
    if failed is not None:
        raise UserError(f"{failed.run_id} failed: {failed.error}; a baseline holds finished runs only")
    unaudited = next((r for r in records if not all(p.audited for p in r.points)), None)
    if unaudited is not None and not simulated:
        raise UserError(f"{unaudited.run_id} was not audited (no executor?); --allow-simulated includes it anyway")


def title(run: Run) -> str:
    """Return a title such as `lc_net l1_layer=0.02 (resnet8 on digits)`."""
    width = "" if run.backbone.width == 1 else f" x{run.backbone.width:g}"
    return f"{run.label} ({run.backbone.name}{width} on {run.data.name})"


def _configuration(results: ResultsFolder, configuration: ComparedRuns) -> BaselineConfiguration:
    records = list(configuration.records.values())
    return BaselineConfiguration(
        title=title(configuration.run),
        identity=dict(configuration.identity),
        static=all(record.is_static for record in records),
        runs=tuple(run_of(results, record) for record in records),
    )


def run_of(results: ResultsFolder, record: Record) -> BaselineRun:
    """Return one finished run as a baseline holds it.

    Raises UserError when its per-image arrays are missing or damaged.
    """
    arrays = results.arrays(record.run_id)
    return BaselineRun(
        seed=record.run.seed,
        run_id=record.run_id,
        train_macs=record.budget.train_macs,
        layers={layer.name: layer.macs for point in record.points for layer in point.layers},
        points=tuple(_points(record, arrays)),
        commit=record.commit,
        versions=record.machine.versions,
    )


def _points(record: Record, arrays: Arrays) -> Iterator[BaselinePoint]:
    for point in record.points:
        flags, macs = arrays[f"{point.name}/correct"], arrays[f"{point.name}/macs"]
        yield BaselinePoint(
            name=point.name,
            images=len(flags),
            correct=pack_flags(flags),
            macs=BaselineMacs(mean=float(macs.mean()), deviation=float(np.ptp(macs) and macs.std())),
            audited=point.audited,
            latency=latency_of(point),
        )


def latency_of(point: PointRecord) -> BaselineLatency | None:
    """Return the latency at the smallest batch size that was timed."""
    latency = point.latency
    if latency is None or not latency.timings:
        return None
    return _latency(latency, min(latency.timings, key=lambda timing: timing.batch))


def _latency(latency: Latency, timing: Timing) -> BaselineLatency:
    return BaselineLatency(
        batch=timing.batch,
        realised=timing.realised,
        realised_best=timing.realised_best,
        device=latency.machine.device_name,
        cpu=latency.machine.cpu,
        cores=latency.machine.cores,
        threads=latency.threads,
        engine=latency.engine,
        precision=latency.precision,
    )
