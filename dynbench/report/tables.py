"""GitHub-flavoured tables."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from dynbench.analysis.controls import Comparison
from dynbench.analysis.latency import TimedPoint, speed_up
from dynbench.analysis.literature import Quoted, quoted_on
from dynbench.analysis.summary import ConfigurationRecords, PointSummary, Setting
from dynbench.analysis.words import accuracy, control_name, epochs, marks, over_seeds, p_values, short_macs
from dynbench.record.schema import EngineRecord, EngineTiming, Timing

HEADERS = (
    "method",
    "point",
    "width",
    "epochs",
    "seeds",
    "test top-1 %",
    "test top-5 %",
    "mean MACs",
    "% of dense",
    "p95 MACs",
    "gates MACs",
    "audited",
)
BUDGET_HEADERS = ("method", "epochs by stage", "epochs", "pretraining MACs", "training MACs")
CONTROL_HEADERS = (
    "method",
    "point",
    "top-1 %",
    "control",
    "difference",
    "95 % interval",
    "over seeds",
    "McNemar p",
    "MACs ratio",
)
LATENCY_HEADERS = (
    "method",
    "point",
    "batch",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "dense p50 ms",
    "speed-up",
    "by MACs",
    "realised",
    "realised_best",
    "best engine",
)
ENGINE_HEADERS = ("engine", "version", "batch", "p50 ms", "p90 ms", "p99 ms", "images/s", "speed-up")
TEXT_COLUMNS = {"method", "point", "control", "best engine", "engine", "version"}


def result_rows(configuration: ConfigurationRecords) -> list[tuple[str, ...]]:
    """A row of `HEADERS` for each operating point; one, shorter, where every run failed."""
    label, width = configuration.run.label, f"{configuration.run.built.width:.3g}"
    shared = (width, epochs(configuration), str(len(configuration.finished)))
    if not configuration.points:
        return [(label, "failed", *shared)]
    return [(label, point.name, *shared, *_results(point)) for point in configuration.points]


def _results(point: PointSummary) -> tuple[str, ...]:
    return (
        accuracy(point.test_top1),
        accuracy(point.test_top5),
        short_macs(point.macs.mean),
        f"{100 * point.of_dense:.1f}",
        short_macs(point.macs_p95),
        short_macs(point.macs_gates),
        "yes" if point.audited else "no",
    )


def _control_row(comparison: Comparison) -> tuple[str, ...]:
    return (
        comparison.point.name,
        f"{comparison.point.test_top1.mean:.2f}",
        control_name(comparison.control.configuration),
        f"{comparison.difference:+.2f}",
        f"{comparison.low:+.2f} to {comparison.high:+.2f}",
        over_seeds(comparison),
        p_values(comparison),
        f"{comparison.macs_ratio:.2f}{marks(comparison)}",
    )


def _timing(timed: TimedPoint, timing: Timing) -> tuple[str, ...]:
    return (
        timed.label,
        timed.point.name,
        str(timing.batch),
        f"{timing.p50_ms:.3g}",
        f"{timing.p90_ms:.3g}",
        f"{timing.p99_ms:.3g}",
        f"{timing.dense_p50_ms:.3g}",
        f"{speed_up(timing):.2f}",
        f"{timed.promised(timing):.2f}",
        f"{timing.realised:.2f}",
        "" if timing.realised_best is None else f"{timing.realised_best:.2f}",
        timing.best_engine or "",
    )


def _engine_timing(engine: EngineRecord, timing: EngineTiming) -> tuple[str, ...]:
    return (
        engine.name,
        engine.version,
        str(timing.batch),
        f"{timing.p50_ms:.3g}",
        f"{timing.p90_ms:.3g}",
        f"{timing.p99_ms:.3g}",
        f"{timing.throughput_ips:.0f}",
        f"{1 / timing.of_eager:.2f}",
    )


QUOTED_HEADERS = ("method", "backbone", "source", "place", "top-1 %", "top-5 %", "MACs", "printed", "unit")
QUOTED_TEXT = {"method", "backbone", "source", "place", "unit"}


def quoted_rows(settings: Iterable[Setting], literature: Sequence[Quoted]) -> list[Quoted]:
    """Of the measured backbones on their data sets, and what else stands in the same tables."""
    measured = list(settings)
    found = []
    for dataset in dict.fromkeys(setting.dataset for setting in measured):
        backbones = {setting.backbone for setting in measured if setting.dataset == dataset}
        rows = quoted_on(dataset, literature)
        tables = {(row.source.paper, row.place) for row in rows if row.backbone in backbones}
        found += [row for row in rows if (row.source.paper, row.place) in tables]
    return found


def quoted_table(rows: Sequence[Quoted]) -> Iterator[str]:
    """As Markdown; nothing where there are no rows."""
    if rows:
        title = "**Quoted from papers, not reproduced: other budgets, counted by other rules**"
        yield f"{title}\n\n{markdown_table(QUOTED_HEADERS, map(_quoted_cells, rows), QUOTED_TEXT)}"


def _quoted_cells(row: Quoted) -> tuple[str, ...]:
    source = row.source.paper + (f" (arXiv {row.source.arxiv})" if row.source.arxiv else "")
    printed = f"{row.printed:g}" if isinstance(row.printed, float) else str(row.printed)
    accuracies = ("" if one is None else f"{one:.2f}" for one in (row.top1, row.top5))
    cells = (row.method, row.backbone or "", source, row.place, *accuracies, short_macs(row.macs), printed, row.unit)
    return tuple(map(one_line, cells))


def markdown_table(headers: Sequence[str], rows: Iterable[Sequence[str]], text: Collection[str]) -> str:
    """Columns with a header in `text` are aligned to the left, the others, of numbers, to the right."""
    rules = ["---" if header in text else "---:" for header in headers]
    padded = [(*row, *[""] * (len(headers) - len(row))) for row in rows]
    return "\n".join(f"| {' | '.join(map(one_line, row))} |" for row in (headers, rules, *padded))


def one_line(text: str) -> str:
    """`text` where a table cell can take it."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
