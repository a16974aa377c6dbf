"""What a run ends with: a line for each configuration."""

from collections.abc import Iterator, Sequence

import numpy as np

from dynbench.analysis.analysis import Analysis
from dynbench.analysis.latency import conditions_of, speed_up
from dynbench.analysis.summary import ConfigurationRecords, Setting
from dynbench.analysis.words import accuracy, setting_title
from dynbench.plan.run import Run
from dynbench.record.schema import PointRecord
from dynbench.report.layout import Brief, Row, Table, TableColumn, figures, filled

RESULTS = (
    TableColumn("configuration", words=True, place="name"),
    *figures(("test top-1 %", "test\ntop-1 %"), ("% of dense MACs", "% of dense\nMACs")),
)
LATENCY = (
    TableColumn("one image, ms", brief=Brief("one image\nms")),
    TableColumn("times as fast", brief=Brief("times\nas fast")),
)
FIRST = "Of several operating points the first is shown."
AS_FAST = "Times as fast as the dense backbone in eager PyTorch, one image at a time."


def brief_table(found: Analysis, setting: Setting) -> Table:
    """Return a table with a line for each configuration of a setting, at its first operating point.

    Latencies are shown where all were taken under the same conditions: others are not to be compared.
    """
    chosen = found.settings[setting]
    timed = len({conditions_of(run, point.latency) for run, point in _first(chosen) if point.latency}) == 1
    columns = (*RESULTS, *LATENCY) if timed else RESULTS
    rows = (Row(filled(_cells(found, one, timed), columns), one.key, "" if one.points else "failed") for one in chosen)
    notes = [FIRST] if any(len(one.points) > 1 for one in chosen) else []
    notes += [AS_FAST] if timed else []
    return Table(setting_title(setting, chosen), columns, tuple(rows), notes=tuple(notes), unbroken=True)


def _first(chosen: Sequence[ConfigurationRecords]) -> Iterator[tuple[Run, PointRecord]]:
    """The first operating point of every finished run."""
    yield from ((record.run, record.points[0]) for one in chosen for record in one.finished if record.points)


def _cells(found: Analysis, configuration: ConfigurationRecords, timed: bool) -> tuple[str, ...]:
    name = found.names.brief(configuration.run)
    if not configuration.points:
        return (name,)
    point, *_ = configuration.points
    cells = (name, accuracy(point.test_top1), f"{100 * point.of_dense:.1f}")
    return (*cells, *_latency([first for _, first in _first([configuration])])) if timed else cells


def _latency(points: Sequence[PointRecord]) -> tuple[str, ...]:
    """Means over the seeds that were timed; a method without an executor is simulated, and never has a number."""
    singles = [single for point in points if point.latency and (single := point.latency.single)]
    if singles:
        return f"{np.mean([one.p50_ms for one in singles]):.3g}", f"{np.mean([speed_up(one) for one in singles]):.2f}"
    return ("",) if any(point.audit_images for point in points) else ("simulated",)
