"""The rows of the page's table: one for each operating point over its seeds, one for what failed altogether."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Literal

from dynbench.analysis.analysis import Analysis
from dynbench.analysis.latency import Block, TimedPoint, speed_up
from dynbench.analysis.summary import ConfigurationRecords, PointSummary, SeedMean, seed_mean
from dynbench.analysis.words import accuracy, short_macs
from dynbench.record.schema import Record, Timing

RunPoint = tuple[str, str]
"""Id of a run, and an operating point of it."""


@dataclass(frozen=True)
class Badge:
    """A word about a row; `why` is said where the word alone does not say it."""

    word: str
    tone: Literal["good", "plain", "warning", "bad"] = "plain"
    why: str = ""


@dataclass(frozen=True)
class PageCell:
    """What stands in a cell, and the number that it is sorted by; None: it is sorted as text."""

    text: str = ""
    value: float | None = None


@dataclass(frozen=True)
class PageColumn:
    """A column of the page's table. `words`: aligned to the left. `about` explains the header."""

    name: str
    about: str
    words: bool = False


@dataclass(frozen=True)
class PageRow:
    """A row. `number` is its place in the table as it comes, by which charts name it."""

    number: int
    configuration: ConfigurationRecords
    point: PointSummary | None
    badges: tuple[Badge, ...]
    cells: tuple[PageCell, ...]


@dataclass(frozen=True)
class PageTable:
    """Every row under its columns."""

    columns: tuple[PageColumn, ...]
    rows: tuple[PageRow, ...]


COLUMNS = (
    PageColumn("configuration", "the method and what was asked of it", words=True),
    PageColumn("point", "operating point of the trained net", words=True),
    PageColumn("net", "backbone and data set", words=True),
    PageColumn("top-1, %", "test accuracy of the final epoch, mean over seeds ± 95 % interval"),
    PageColumn("MACs", "multiply-accumulates per test image, mean"),
    PageColumn("% of dense", "mean MACs in per cent of the dense backbone's"),
    PageColumn("p95 MACs", "95th percentile over test images"),
    PageColumn("gate MACs", "MACs of what the method added to decide what runs, mean"),
    PageColumn("epochs", "epochs of training, pretraining included"),
    PageColumn("seeds", "finished runs"),
)


def page_table(found: Analysis) -> PageTable:
    """Return the page's table. Raises as `Analysis.comparisons`."""
    timed = [timed_at(block, 1) for block in found.latency]
    columns = (*COLUMNS, *(column for index in range(len(timed)) for column in _timed(index, found.latency)))
    front = {point_key(point) for points in found.fronts.values() for point in points}
    rows: list[PageRow] = []
    for configuration in found.configurations:
        name = found.names.whole(configuration.run)
        for point in configuration.points or (None,):
            times = (cell for its in timed for cell in _times(timed_of(point, its) if point else ()))
            cells = (*_cells(configuration, point, name), *times)
            badges = tuple(_badges(configuration, point, point is not None and point_key(point) in front))
            rows.append(PageRow(len(rows), configuration, point, badges, cells))
    return _without_what_is_the_same(PageTable(columns, tuple(rows)))


def _without_what_is_the_same(table: PageTable) -> PageTable:
    """Leave out the columns of names in which every row says the same: the heading says it."""
    texts = ({row.cells[index].text for row in table.rows} for index in range(len(table.columns)))
    kept = [index == 0 or not table.columns[index].words or len(its) > 1 for index, its in enumerate(texts)]
    rows = (replace(row, cells=tuple(compress(row.cells, kept))) for row in table.rows)
    return PageTable(tuple(compress(table.columns, kept)), tuple(rows))


def block_letter(index: int, blocks: Sequence[Block]) -> str:
    """Return what tells a block of timings from others: ` A`, ` B`, ...; nothing where there is one."""
    return f" {chr(ord('A') + index)}" if len(blocks) > 1 else ""


def _timed(index: int, blocks: Sequence[Block]) -> Iterator[PageColumn]:
    letter, conditions = block_letter(index, blocks), blocks[index].conditions
    yield PageColumn(f"ms{letter}", f"median time of one image, {conditions.net}, {conditions.machine}")
    yield PageColumn(f"times as fast{letter}", "time of the dense net in eager PyTorch over the method's, one image")
    yield PageColumn(
        f"realised{letter}", "saved time over saved MACs, one image; 1 when every saved MAC was saved time"
    )


def _cells(configuration: ConfigurationRecords, point: PointSummary | None, name: str) -> Iterator[PageCell]:
    run = configuration.run
    width = "" if run.backbone.width == 1 else f" x{run.backbone.width:g}"
    yield from (PageCell(name), PageCell(point.name if point else ""))
    yield PageCell(f"{run.backbone.name}{width} on {run.data.name}")
    if point is None:
        yield from [PageCell()] * 5
    else:
        yield PageCell(accuracy(point.test_top1), point.test_top1.mean)
        yield PageCell(_spread(point.macs), point.macs.mean)
        yield PageCell(f"{100 * point.of_dense:.1f}", point.of_dense)
        yield PageCell(short_macs(point.macs_p95), point.macs_p95)
        yield PageCell(short_macs(point.macs_gates), point.macs_gates)
    yield PageCell("" if configuration.epochs is None else str(configuration.epochs), configuration.epochs)
    yield PageCell(str(len(configuration.finished)), len(configuration.finished))


def _spread(macs: SeedMean) -> str:
    return f"{short_macs(macs.mean)} ±{short_macs(macs.half_width)}" if macs.half_width else short_macs(macs.mean)


Timed = Mapping[RunPoint, tuple[TimedPoint, Timing]]


def timed_at(block: Block, batch: int) -> Timed:
    """Return what was timed at a batch size."""
    return {
        (timed.run.run_id, timed.point.name): (timed, timing)
        for timed in block.points
        if (timing := timed.at(batch)) is not None
    }


def timed_of(point: PointSummary, timed: Timed) -> tuple[tuple[TimedPoint, Timing], ...]:
    """Return those of `timed` that are of an operating point: one for each of its seeds that was timed."""
    ids = (record.run_id for record in point.configuration.finished)
    return tuple(found for run_id in ids if (found := timed.get((run_id, point.name))))


def point_key(point: PointSummary) -> tuple[str, str]:
    """Return what tells an operating point from all others: its configuration's key, and its name."""
    return point.configuration.key, point.name


def _times(chosen: Sequence[tuple[TimedPoint, Timing]]) -> tuple[PageCell, ...]:
    """Means over the seeds that were timed under these conditions."""
    if not chosen:
        return (PageCell(),) * 3
    milliseconds = seed_mean([timing.p50_ms for _, timing in chosen]).mean
    faster = seed_mean([speed_up(timing) for _, timing in chosen]).mean
    realised = seed_mean([timing.realised for _, timing in chosen]).mean
    return (
        PageCell(f"{milliseconds:.3g}", milliseconds),
        PageCell(f"{faster:.2f}", faster),
        PageCell(f"{realised:.2f}", realised),
    )


def _badges(configuration: ConfigurationRecords, point: PointSummary | None, on_front: bool) -> Iterator[Badge]:
    if point is not None:
        yield _audit_badge(configuration, point)
        if on_front:
            yield Badge("on the front", why="no measured point of this data set is at most as costly and as accurate")
    if configuration.static:
        yield Badge("static control", why="it spends the same on every image")
    yield from (_failure(record) for record in configuration.failed)


def _audit_badge(configuration: ConfigurationRecords, point: PointSummary) -> Badge:
    its = [one for record in configuration.finished for one in record.points if one.name == point.name]
    if not any(one.audit_images or one.latency for one in its) and not point.audited:
        return Badge("simulated", "warning", "no executor that really skips: its MACs are accounted, its time unknown")
    if point.audited:
        return Badge("audited", "good", "executed MACs equal the accounted ones, image by image")
    return Badge("not audited", "warning", "executed MACs were not compared with the accounted ones")


def _failure(record: Record) -> Badge:
    return Badge("failed", "bad", f"seed {record.run.seed}: {record.error or 'no reason recorded'}")
