"""Large results folders for tests, made of copies of the committed records: nothing is trained."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from dynbench.plan.run import Run
from dynbench.record.arrays_file import save_arrays
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import PointRecord, Record

Arrays = dict[str, np.ndarray]
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
    then of more configurations, which differ in a parameter, accuracy and MACs. Samples of latencies are the same."""
    results, committed = ResultsFolder(into), ResultsFolder(COMMITTED)
    (into / "records").mkdir(parents=True)
    for source, record, arrays in _copies(committed, count, seeds):
        results.record_path(record.run_id).write_text(record.model_dump_json())
        save_arrays(results.arrays_path(record.run_id), arrays)
        samples = committed.latency_arrays_path(source.run_id).read_bytes()
        results.latency_arrays_path(record.run_id).write_bytes(samples)
    return results


def _copies(committed: ResultsFolder, count: int, seeds: int) -> Iterator[tuple[Record, Record, Arrays]]:
    """A committed record, its copy, and that one's arrays."""
    sources = committed.records()
    own = {source.run_id: committed.arrays(source.run_id) for source in sources}
    for number in range(count):
        turn, which = divmod(number, len(sources))
        variant, seed = divmod(turn, seeds)
        source = sources[which]
        run = _varied(source.run, variant).model_copy(update={"seed": seed})
        arrays = dict(own[source.run_id])
        points = tuple(_moved(point, arrays, variant, seed) for point in source.points)
        yield source, source.model_copy(update={"run": run, "run_id": run.run_id, "points": points}), arrays


def _varied(run: Run, variant: int) -> Run:
    name = VARIED[run.method]
    if not variant:
        return run
    value = {name: round(run.params[name] * (1 - variant / 1013), 7)}
    built = run.built.model_copy(update={"width": value[name]}) if run.method == "dense" else run.built
    return run.model_copy(update={"params": run.params | value, "given": run.given | value, "built": built})


def _moved(point: PointRecord, arrays: Arrays, variant: int, seed: int) -> PointRecord:
    """A little worse and cheaper for each variant, not quite in order; each seed moves it too. Its `arrays` follow."""
    correct, macs = arrays[f"{point.name}/correct"].copy(), arrays[f"{point.name}/macs"]
    lost = (4 - seed % 5) * 10 + 37 * variant % 101 * 2  # images of 10,000
    correct[np.flatnonzero(correct)[:: max(1, int(correct.sum()) // lost)][:lost] if lost else []] = False
    saved = round(point.macs.backbone * variant / 1000)
    arrays |= {f"{point.name}/correct": correct, f"{point.name}/macs": macs - saved}
    return point.model_copy(update={"test_top1": 100 * float(correct.mean()), **_cheaper(point, saved)})


def _cheaper(point: PointRecord, saved: int) -> Mapping[str, object]:
    """MACs of a point whose every image costs `saved` fewer in the backbone, whose layers share in that."""
    share = 1 - saved / point.macs.backbone
    parts = ("mean", "p50", "p95", "max", "backbone")
    layers = [
        layer.model_copy(update={"mean": layer.mean * share}) if layer.kind == "backbone" else layer
        for layer in point.layers
    ]
    macs = point.macs.model_copy(update={part: getattr(point.macs, part) - saved for part in parts})
    return {"macs": macs, "layers": tuple(layers)}
