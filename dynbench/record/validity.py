"""When a record is valid: what every command that reads one may rely on.

Its file is named after its run id, which follows from its `run`; its parts do not contradict each other; and of a
finished run the per-image arrays have the right type, shape and length and give the record's own figures. Anybody may
have written it, and its ids and names become paths.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from dynbench.plan.run import RESULTS_VERSION, Run
from dynbench.record.schema import LARGEST, PointRecord, Record

Arrays = Mapping[str, np.ndarray]

SUITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
LONGEST_NAME = 200
"""Characters: a file system takes 255 bytes, of which a run id is a part."""
TYPES = {"correct": np.dtype(np.bool_), "correct5": np.dtype(np.bool_), "macs": np.dtype(np.int64)}
LOGITS = "audit_logits"
"""Of a point: its arrays, one number an image; and what was audited, which older files do not have."""
KINDS = {"backbone": "backbone", "shortcuts": "shortcut", "gates": "control"}
"""Of MACs: their name in `Macs`, and in `LayerMacs`."""


def is_component(name: str) -> bool:
    """Say whether `name` is a file's or folder's name and nothing that leads anywhere else."""
    return bool(name) and name.isprintable() and not name.startswith(".") and not set(name) & {"/", "\\"}


def record_problems(record: Record, file_name: str) -> Iterator[str]:
    """Yield what is wrong with a record by itself. `file_name`: that of its file, without suffix."""
    yield from _name_problems(record)
    yield from _id_problems(record, file_name)
    yield from _number_problems("run", record.run.model_dump())
    yield from _number_problems("machine", record.machine.model_dump())
    yield from _budget_problems(record)
    if record.status == "failed":
        yield from ["it failed, and has results"] if record.points else []
        return
    yield from ["it is finished, and has no operating point"] if not record.points else []
    yield from ["it is finished, and has an error"] if record.error is not None else []
    yield from (f'two points are called "{name}"' for name in _twice(point.name for point in record.points))
    for point in record.points:
        yield from (f'point "{point.name}": {problem}' for problem in _point_problems(point))


def _name_problems(record: Record) -> Iterator[str]:
    run = record.run
    if not SUITE_NAME.fullmatch(run.suite) or len(run.suite) > LONGEST_NAME:
        yield f"run.suite {_shown(run.suite)} is not a suite's name"
    names = [run.method, run.data.name, run.backbone.name, run.built.name]
    for point in record.points:
        names += [point.name, *(layer.name for layer in point.layers)]
    names += [stage.name for stage in (*record.budget.stages, *record.budget.pretrained)]
    yield from (f"{_shown(name)} is not a name" for name in names if not _is_name(name))


def _is_name(name: str) -> bool:
    return 0 < len(name) <= LONGEST_NAME and name.isprintable()


def _shown(text: str) -> str:
    """Short, and without what a terminal would obey."""
    return ascii(text[:LONGEST_NAME])


def _id_problems(record: Record, file_name: str) -> Iterator[str]:
    if not is_component(record.run_id):
        yield f"run_id {_shown(record.run_id)} is not a file's name"
    if record.run_id not in _ids(record.run):
        yield f"run_id {_shown(record.run_id)} does not follow from its run, which gives {_shown(record.run.run_id)}"
    if record.run_id != file_name:
        yield f"its file is not named after its run_id, {_shown(record.run_id)}"


def _ids(run: Run) -> Iterator[str]:
    """By this version of the harness, then by older ones."""
    return (run.id_by(version) for version in range(RESULTS_VERSION, 0, -1))


def _number_problems(where: str, value: Any) -> Iterator[str]:
    """Numbers that a table, a plot or a database cannot hold, in what a method or a suite may name as it likes."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _number_problems(f"{where}.{_shown(str(key))[1:-1]}", part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _number_problems(where, part)
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{where} is {value}"
    elif isinstance(value, int) and not -LARGEST - 1 <= value <= LARGEST:
        yield f"{where} does not fit into 64 bits"


def _budget_problems(record: Record) -> Iterator[str]:
    budget = record.budget
    for name in ("epochs", "train_macs", "seconds"):
        if getattr(budget, name) > LARGEST:
            yield f"budget: {name} of all stages do not fit into 64 bits"
    if (budget.images_per_second or 0) > LARGEST:
        yield "budget: no machine trains this many images a second"


def _point_problems(point: PointRecord) -> Iterator[str]:
    macs = point.macs
    if point.audited != (point.audit_images > 0):
        yield f"audited is {str(point.audited).lower()}, of {point.audit_images} audited images"
    if not _close(macs.backbone + macs.shortcuts + macs.gates, macs.mean):
        yield "MACs of backbone, shortcuts and gates are not those of all together"
    yield from (f'two layers are called "{name}"' for name in _twice(layer.name for layer in point.layers))
    for layer in point.layers:
        if layer.mean > layer.macs and not _close(layer.mean, layer.macs):
            yield f'layer "{layer.name}" spends more than it costs whole'
    for name, kind in KINDS.items() if point.layers else ():
        if not _close(sum(layer.mean for layer in point.layers if layer.kind == kind), getattr(macs, name)):
            yield f"MACs of {name} are not those of its layers"
    if point.latency:
        batches = _twice(str(timing.batch) for timing in point.latency.timings)
        yield from (f"two timings are of batch size {batch}" for batch in batches)


def needed_arrays(record: Record) -> tuple[str, ...]:
    """Return the names of the per-image arrays that `array_problems` looks at."""
    return tuple(f"{point.name}/{part}" for point in record.points for part in (*TYPES, LOGITS))


def array_problems(record: Record, arrays: Arrays) -> Iterator[str]:
    """Yield what is wrong with the per-image arrays of a finished record."""
    for point in record.points:
        found = list(_missing(point, arrays)) or list(_contradictions(point, arrays))
        yield from found
    lengths = {len(arrays[name]) for p in record.points if (name := f"{p.name}/macs") in arrays and arrays[name].ndim}
    if len(lengths) > 1:
        yield f"points are of {' and of '.join(map(str, sorted(lengths)))} images"


def _missing(point: PointRecord, arrays: Arrays) -> Iterator[str]:
    """What is not there, or is of another type or shape."""
    names = {f"{point.name}/{part}": kind for part, kind in TYPES.items()}
    yield from (f'no "{name}"' for name in names if name not in arrays)
    there = {name: arrays[name] for name in names if name in arrays}
    for name, array in there.items():
        if array.dtype != names[name] or array.ndim != 1 or not array.size:
            yield f'"{name}" is {array.dtype} {array.shape}, and not {names[name]} (images,)'
    if len({array.shape for array in there.values()}) > 1:
        yield f'arrays of point "{point.name}" differ in length'
    logits = arrays.get(f"{point.name}/{LOGITS}")
    if logits is not None and logits.size and not _are_logits(logits, point.audit_images):
        yield f'"{point.name}/audit_logits" are not finite float32 ({point.audit_images}, classes)'


def _are_logits(array: np.ndarray, images: int) -> bool:
    right = array.dtype == np.float32 and array.ndim == 2 and len(array) == images  # noqa: PLR2004
    return bool(right and np.isfinite(array).all())


def _contradictions(point: PointRecord, arrays: Arrays) -> Iterator[str]:
    """Figures that the arrays do not give."""
    correct, correct5, macs = (arrays[f"{point.name}/{part}"] for part in ("correct", "correct5", "macs"))
    if macs.min() < 0:
        yield f'"{point.name}/macs" are negative'
    if (correct & ~correct5).any():
        yield f'point "{point.name}": images are right, and not among the first five'
    figures = (
        ("test_top1", point.test_top1, 100 * float(correct.mean())),
        ("test_top5", point.test_top5, 100 * float(correct5.mean())),
        ("macs.mean", point.macs.mean, float(macs.mean())),
        ("macs.p50", point.macs.p50, float(np.percentile(macs, 50))),
        ("macs.p95", point.macs.p95, float(np.percentile(macs, 95))),
        ("macs.max", point.macs.max, float(macs.max())),
    )
    for name, said, given in figures:
        if not _close(said, given):
            yield f'point "{point.name}": {name} is {said:.12g}, and its arrays give {given:.12g}'


def _close(one: float, other: float) -> bool:
    """Equal but for the order in which the same numbers were summed."""
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-6)


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
