"""Large results folders for tests, made of copies of the committed records: nothing is trained."""

from collections.abc import Iterator
from pathlib import Path

from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import PointRecord, Record

COMMITTED = Path(__file__).parents[2] / "results" / "reference" / "cifar10-cpu-sgd"
VARIED = {
    "dense": "width",
    "l_net": "l1_layer",
    "c_net": "l1_channel",
    "lc_net": "l1_layer",
    "filter_pruning": "macs",
    "nisp": "macs",
    "blockdrop": "gamma_joint",
}
"""The parameter that tells the copies of a configuration apart."""


def copy_committed(into: Path, count: int, seeds: int) -> ResultsFolder:
    """Fill the results folder `into` with `count` copies of the committed records: of each configuration `seeds` seeds,
    then of more configurations, which differ in a parameter, accuracy and MACs. Per-image arrays are links."""
    results, committed = ResultsFolder(into), ResultsFolder(COMMITTED)
    (into / "records").mkdir(parents=True)
    for source, record in _copies(committed.records(), count, seeds):
        results.record_path(record.run_id).write_text(record.model_dump_json())
        for place in (ResultsFolder.arrays_path, ResultsFolder.latency_arrays_path):
            place(results, record.run_id).symlink_to(place(committed, source.run_id))
    return results


def _copies(committed: tuple[Record, ...], count: int, seeds: int) -> Iterator[tuple[Record, Record]]:
    """Pairs of a committed record and its copy."""
    for number in range(count):
        turn, which = divmod(number, len(committed))
        variant, seed = divmod(turn, seeds)
        source = committed[which]
        run = _varied(source.run, variant).model_copy(update={"seed": seed})
        points = tuple(_moved(point, variant, seed) for point in source.points)
        yield source, source.model_copy(update={"run": run, "run_id": run.run_id, "points": points})


def _varied(run: Run, variant: int) -> Run:
    name = VARIED[run.method]
    if not variant:
        return run
    value = {name: round(run.params[name] * (1 - variant / 1013), 7)}
    built = run.built.model_copy(update={"width": value[name]}) if run.method == "dense" else run.built
    return run.model_copy(update={"params": run.params | value, "given": run.given | value, "built": built})


def _moved(point: PointRecord, variant: int, seed: int) -> PointRecord:
    """A little worse and cheaper for each variant, not quite in order; each seed moves it too."""
    better = (seed % 5 - 2) / 10 - (37 * variant % 101) / 50
    macs = point.macs.model_copy(update={"mean": point.macs.mean * (1 - variant / 1000)})
    return point.model_copy(update={"test_top1": point.test_top1 + better, "macs": macs})
