"""What the page's charts can show, as numbers: accuracy against MACs, against latency, and realised speed-ups."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dynbench.analysis.analysis import Analysis
from dynbench.analysis.latency import Block, speed_up
from dynbench.analysis.literature import quoted_on
from dynbench.analysis.summary import SeedMean, pareto_front, seed_mean
from dynbench.analysis.words import short_macs
from dynbench.data.catalogue import with_caveat
from dynbench.report.page.rows import PageRow, PageTable, block_letter, timed_at, timed_of

MMACS = 1e6


@dataclass(frozen=True)
class Axis:
    """What runs along an axis, with its unit. `log`: whether it starts out logarithmic."""

    label: str
    log: bool = False


@dataclass(frozen=True)
class ChartPoint:
    """A row of the table in a chart: `x` and `y` as (value, low, high) of 95 % intervals over seeds.

    Points of one `tie` are joined: the operating points of a net, the widths of a static method.
    """

    row: int
    x: tuple[float, float, float]
    y: tuple[float, float, float]
    method: str
    tie: str
    static: bool
    front: bool


@dataclass(frozen=True)
class QuotedPoint:
    """What a paper prints; `text` says where, `name` of what."""

    name: str
    text: str
    x: float
    y: float


@dataclass(frozen=True)
class ChartLine:
    """A level that a chart marks: how fast an engine runs the dense net."""

    name: str
    y: float


@dataclass(frozen=True)
class View:
    """One thing that a chart can show. `diagonal`: where x equals y is drawn."""

    label: str
    x: Axis
    y: Axis
    points: tuple[ChartPoint, ...]
    quoted: tuple[QuotedPoint, ...] = ()
    lines: tuple[ChartLine, ...] = ()
    diagonal: bool = False


def accuracy_views(found: Analysis, table: PageTable) -> tuple[View, ...]:
    """Accuracy against MACs for each data set, then against latency for each block of timings.

    Quoted points stand beside MACs alone: nobody prints a latency of this machine.
    """
    rows = [row for row in table.rows if row.point]
    datasets = dict.fromkeys(row.configuration.setting.dataset for row in rows)
    return (
        *(_macs_view(found, dataset, rows) for dataset in datasets),
        *(
            _latency_view(block, block_letter(index, found.latency), rows)
            for index, block in enumerate(found.latency)
            if 1 in block.batches
        ),
    )


def realised_views(found: Analysis, table: PageTable) -> tuple[View, ...]:
    """Realised against predicted speed-up, for each block of timings and batch size."""
    rows = [row for row in table.rows if row.point]
    return tuple(
        _realised_view(block, block_letter(index, found.latency), batch, rows)
        for index, block in enumerate(found.latency)
        for batch in block.batches
    )


def _macs_view(found: Analysis, dataset: str, rows: Sequence[PageRow]) -> View:
    front = {id(point) for point in found.fronts[dataset]}
    chosen = [(row, row.point) for row in rows if row.point and row.configuration.setting.dataset == dataset]
    points = tuple(
        _point(row, _bounds(point.macs, MMACS), _bounds(point.test_top1), id(point) in front) for row, point in chosen
    )
    backbones = {row.configuration.setting.backbone for row, _ in chosen}
    quoted = tuple(
        QuotedPoint(one.method, f"{one.source.paper}, {one.place}: {one.top1:g} % at {short_macs(one.macs)} MACs",
                    one.macs / MMACS, one.top1)
        for one in quoted_on(dataset, found.literature)
        if one.backbone in backbones
    )  # fmt: skip
    axis = Axis("million MACs per image, mean")
    return View(f"MACs, {with_caveat(dataset)}", axis, Axis("test top-1, %"), points, quoted)


def _latency_view(block: Block, letter: str, rows: Sequence[PageRow]) -> View:
    timed = timed_at(block, 1)
    drawn = [
        (row, row.point, seed_mean([timing.p50_ms for _, timing in its]))
        for row in rows
        if row.point and (its := timed_of(row.point, timed))
    ]
    front = pareto_front(drawn, lambda one: one[2].mean, lambda one: one[1].test_top1.mean)
    on_front = {row.number for row, _, _ in front}
    points = tuple(
        _point(row, _bounds(time), _bounds(point.test_top1), row.number in on_front) for row, point, time in drawn
    )
    label = f"latency{letter}, {block.conditions.net}, {block.conditions.machine}"
    return View(label, Axis("milliseconds for one image, median"), Axis("test top-1, %"), points)


def _realised_view(block: Block, letter: str, batch: int, rows: Sequence[PageRow]) -> View:
    timed = timed_at(block, batch)
    points = []
    for row in rows:
        its = timed_of(row.point, timed) if row.point else ()
        if its:
            predicted = seed_mean([one.promised(timing) for one, timing in its])
            faster = seed_mean([speed_up(timing) for _, timing in its])
            points.append(_point(row, _bounds(predicted), _bounds(faster), front=False))
    return View(
        f"batch {batch}{letter}, {block.conditions.net}, {block.conditions.machine}",
        Axis("predicted: dense MACs over the method's", log=True),
        Axis("realised: dense time over the method's", log=True),
        tuple(points),
        lines=tuple(_engines(block, batch)),
        diagonal=True,
    )


def _engines(block: Block, batch: int) -> Iterator[ChartLine]:
    for engine in block.engines[1:]:
        yield from (ChartLine(f"dense on {engine.name}", 1 / t.of_eager) for t in engine.timings if t.batch == batch)


def _point(row: PageRow, x: tuple[float, float, float], y: tuple[float, float, float], front: bool) -> ChartPoint:
    configuration = row.configuration
    setting = configuration.setting
    tie = f"{setting.backbone} {setting.width} {configuration.run.method} {configuration.epochs}"
    return ChartPoint(
        row=row.number,
        x=x,
        y=y,
        method=configuration.run.method,
        tie=tie if configuration.static else configuration.records[0].run_id,
        static=configuration.static,
        front=front,
    )


def _bounds(estimate: SeedMean, unit: float = 1) -> tuple[float, float, float]:
    """Mean and interval, in `unit`, as short as a chart needs them."""
    width = estimate.half_width or 0.0
    low, high = estimate.mean - width, estimate.mean + width
    return _short(estimate.mean / unit), _short(low / unit), _short(high / unit)


def _short(value: float) -> float:
    return float(f"{value:.6g}")
