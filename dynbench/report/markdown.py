"""The summary as GitHub-flavoured Markdown, to be committed and pasted into a README."""

from collections.abc import Iterator, Sequence

from dynbench.record import EngineRecord, EngineTiming, Record, Timing
from dynbench.report.control import Comparison
from dynbench.report.latency import Block, TimedPoint, blocks, speed_up
from dynbench.report.literature import Quoted
from dynbench.report.markdown_table import markdown_table, one_line
from dynbench.report.quoted_table import quoted_rows, quoted_table
from dynbench.report.summary import Configuration, PointSummary, Setting, configurations
from dynbench.report.verdict import verdicts
from dynbench.report.words import (
    accuracy,
    compared_name,
    control_name,
    controls_title,
    epochs,
    mark_meanings,
    marks,
    over_seeds,
    p_values,
    setting_title,
    short_macs,
    spent,
)

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


def markdown_report(
    records: Sequence[Record], comparisons: Sequence[Comparison], literature: Sequence[Quoted] = ()
) -> str:
    """The final table, the budgets, the failures, the controls' table, what was timed, and what papers print of the
    same backbones."""
    known = configurations(records)
    settings = dict.fromkeys(c.setting for c in known)
    parts = [part for setting in settings for part in (_block(setting, known), _budget(setting, known))]
    failed = [record for configuration in known for record in configuration.failed]
    if failed:
        parts.append("\n".join(map(_failure, failed)))
    if comparisons:
        parts += _controls(comparisons)
    parts += [part for block in blocks(records) for part in _latency(block)]
    parts += quoted_table(quoted_rows(settings, literature))
    return "\n\n".join(parts) + "\n"


def _failure(record: Record) -> str:
    return f"- failed: `{record.run_id}`: {one_line(record.error or 'no reason recorded')}"


def _block(setting: Setting, known: Sequence[Configuration]) -> str:
    chosen = [configuration for configuration in known if configuration.setting == setting]
    rows = [row for configuration in chosen for row in result_rows(configuration)]
    return f"**{one_line(setting_title(setting, chosen))}**\n\n{markdown_table(HEADERS, rows, TEXT_COLUMNS)}"


def result_rows(configuration: Configuration) -> list[tuple[str, ...]]:
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


def _budget(setting: Setting, known: Sequence[Configuration]) -> str:
    chosen = [configuration for configuration in known if configuration.setting == setting]
    rows = [(c.run.label, *spent(c.budget)) for c in chosen if c.budget]
    return f"**Budget of each run, pretraining + own stages**\n\n{markdown_table(BUDGET_HEADERS, rows, TEXT_COLUMNS)}"


def _controls(comparisons: Sequence[Comparison]) -> Iterator[str]:
    rows = [(compared_name(one, comparisons), *_control_row(one)) for one in comparisons]
    yield f"**{controls_title(comparisons)}**\n\n{markdown_table(CONTROL_HEADERS, rows, TEXT_COLUMNS)}"
    notes = mark_meanings(comparisons)
    if notes:
        yield "\\\n".join(f"\\{note}" for note in notes)
    yield "\n".join(f"- {one_line(line)}" for line in verdicts(comparisons))


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


def _latency(block: Block) -> Iterator[str]:
    """The executors, then the dense backbone's engines, then what has no executor."""
    rows = (_timing(timed, timing) for timed in block.points for timing in timed.latency.timings)
    title = one_line(f"Latency: {block.conditions.net}; {block.conditions.machine}")
    yield f"**{title}**\n\n{markdown_table(LATENCY_HEADERS, rows, TEXT_COLUMNS)}"
    if block.engines:
        rows = (_engine_timing(engine, timing) for engine in block.engines for timing in engine.timings)
        yield f"**The dense backbone on static engines**\n\n{markdown_table(ENGINE_HEADERS, rows, TEXT_COLUMNS)}"
    absent = [f"- {engine.name} was not timed: {one_line(engine.absent)}" for engine in block.engines if engine.absent]
    simulated = [f"- simulated, no executor to time: {one_line(name)}" for name in block.simulated]
    if absent or simulated:
        yield "\n".join([*absent, *simulated])


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
