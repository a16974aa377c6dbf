"""The final table and the controls' table for a terminal: 80 columns at one or several seeds."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dynbench.analysis.controls import Comparison
from dynbench.analysis.latency import Block, TimedPoint, blocks, speed_up
from dynbench.analysis.summary import ConfigurationRecords, PointSummary, Setting, configurations
from dynbench.analysis.verdicts import verdicts
from dynbench.analysis.words import (
    accuracy,
    compared_name,
    control_name,
    controls_title,
    epochs,
    mark_meanings,
    marks,
    p_values,
    setting_title,
    short_macs,
    spent,
)
from dynbench.check.outcome import FAILING, PASSED, CheckResult, Finding, Verdict
from dynbench.check.output import CHECK_HEADERS, cells, sentence
from dynbench.record.schema import EngineRecord, EngineTiming, Record, Timing

NAME_WIDTH = 20
HEADERS = ("width", "epochs", "test\ntop-1 %", "mean\nMACs", "% of\ndense", "p95\nMACs", "gates\nMACs", "audited")
LATENCY_HEADERS = ("batch", "p50\nms", "p99\nms", "dense\nms", "speed\n-up", "by\nMACs", "real-\nised")
BEST_HEADER = "real.\nbest"
ENGINE_HEADERS = ("batch", "p50\nms", "p99\nms", "images\n/s", "speed\n-up")
BUDGET_HEADERS = ("epochs\nby stage", "all\nepochs", "pretraining\nMACs", "all training\nMACs")
CONTROL_HEADERS = ("control\n ", "differ-\nence", "95 %\ninterval", "McNemar\np", "MACs\nratio")


def final_table(records: Sequence[Record]) -> Table:
    """One block for each suite, data set and backbone; below them what failed, and why."""
    known = configurations(records)
    outer = Table.grid()
    for setting in dict.fromkeys(configuration.setting for configuration in known):
        chosen = [configuration for configuration in known if configuration.setting == setting]
        outer.add_row(_block(setting, chosen))
        outer.add_row("")
        outer.add_row(_budget_block(chosen))
        outer.add_row("")
    for configuration in known:
        for record in configuration.failed:
            reason = record.error or "no reason recorded"
            outer.add_row(Text(f"failed: {record.run_id}: {reason}", style="red"))
    return outer


def _block(setting: Setting, chosen: Sequence[ConfigurationRecords]) -> Table:
    table = _table(setting_title(setting, chosen), "method", HEADERS)
    for configuration in chosen:
        for row in _rows(configuration):
            table.add_row(*row)
    return table


def _budget_block(chosen: Sequence[ConfigurationRecords]) -> Table:
    table = _table("Budget of each run, pretraining + own stages", "method", BUDGET_HEADERS)
    for configuration in chosen:
        if configuration.budget:
            first, *more = wrap_label(configuration.run.label)
            table.add_row(first, *spent(configuration.budget))
            for line in more:
                table.add_row(line)
    return table


def _table(title: str, first: str, headers: Sequence[str]) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
    )
    table.add_column(first, no_wrap=True, vertical="bottom", min_width=NAME_WIDTH)
    for header in headers:
        table.add_column(header, no_wrap=True, justify="right")
    return table


def _rows(configuration: ConfigurationRecords) -> Iterator[tuple[str | Text, ...]]:
    """The method with its parameters, then its operating points: on one line when there is but one point."""
    first, *more = wrap_label(configuration.run.label)
    points = configuration.points
    if not points:
        yield (first, *_shared(configuration), Text("failed", style="red"))
    elif len(points) == 1:
        yield (first, *_shared(configuration), *_results(points[0]))
    else:
        yield (first, *_shared(configuration))
    yield from ((line,) for line in more)
    if len(points) > 1:
        yield from ((f"  {point.name}", "", "", *_results(point)) for point in points)


def _shared(configuration: ConfigurationRecords) -> tuple[str, str]:
    return f"{configuration.run.built.width:.3g}", epochs(configuration)


def _results(point: PointSummary) -> tuple[str, ...]:
    return (
        accuracy(point.test_top1),
        short_macs(point.macs.mean),
        f"{100 * point.of_dense:.1f}",
        short_macs(point.macs_p95),
        short_macs(point.macs_gates),
        "yes" if point.audited else "no",
    )


def wrap_label(label: str, width: int = NAME_WIDTH) -> list[str]:
    """`lc_net l1_layer=0.1 ...` in lines of at most `width`, the later ones indented; what is longer is cut."""
    lines = [""]
    for word in label.split(" "):
        longer = f"{lines[-1]} {word}".lstrip() if len(lines) == 1 else f"{lines[-1]} {word}"
        if len(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(f"  {word}")
    return [line if len(line) <= width else f"{line[: width - 1]}…" for line in lines]


def control_table(comparisons: Sequence[Comparison]) -> Table:
    """Every dynamic operating point against the nearest static controls, how near those are, and what it comes to."""
    table = _table(controls_title(comparisons), "method", CONTROL_HEADERS)
    table.columns[-1].justify = "left"  # the marks after the ratios would put them out of line
    last = None
    for comparison in comparisons:
        point = comparison.point
        if last is None or point.configuration is not last.configuration:
            for line in wrap_label(compared_name(comparison, comparisons)):
                table.add_row(line)
        table.add_row(*_comparison(comparison, again=point is last))
        last = point
    outer = Table.grid()
    outer.add_row(table)
    for line in (*mark_meanings(comparisons), *verdicts(comparisons)):
        outer.add_row(Text(line))
    return outer


def _comparison(comparison: Comparison, again: bool) -> tuple[str, ...]:
    """`again`: the row above is of the same operating point."""
    return (
        "" if again else f"  {comparison.point.name}",
        control_name(comparison.control.configuration),
        f"{comparison.difference:+.2f}",
        f"{comparison.low:+.2f} to {comparison.high:+.2f}",
        p_values(comparison),
        f"{comparison.macs_ratio:.2f}{marks(comparison)}",
    )


def latency_table(records: Sequence[Record]) -> Table:
    """Executors against the dense backbone: time saved (`speed-up`), what the MACs promise, how much of it came, and
    how much against the dense backbone on the fastest engine. Empty when nothing was timed."""
    outer = Table.grid()
    for block in blocks(records):
        outer.add_row(_latency_block(block))
        if block.engines:
            outer.add_row(_engine_block(block.engines))
        if block.simulated:
            outer.add_row(Text(f"simulated, no executor to time: {'; '.join(block.simulated)}"))
        outer.add_row("")
    return outer


def _latency_block(block: Block) -> Table:
    headers = (*LATENCY_HEADERS, *([BEST_HEADER] if block.engines else []))
    table = _table(f"Latency: {block.conditions.net}\n{block.conditions.machine}", "method", headers)
    last = None
    for timed in block.points:
        if timed.label != last:
            for line in wrap_label(timed.label):
                table.add_row(line)
        last = timed.label
        for index, timing in enumerate(timed.latency.timings):
            table.add_row("" if index else f"  {timed.point.name}", *_timing(timed, timing)[: len(headers)])
    return table


def _timing(timed: TimedPoint, timing: Timing) -> tuple[str, ...]:
    return (
        str(timing.batch),
        f"{timing.p50_ms:.3g}",
        f"{timing.p99_ms:.3g}",
        f"{timing.dense_p50_ms:.3g}",
        f"{speed_up(timing):.2f}",
        f"{timed.promised(timing):.2f}",
        f"{timing.realised:.2f}",
        "" if timing.realised_best is None else f"{timing.realised_best:.2f}",
    )


def _engine_block(engines: Sequence[EngineRecord]) -> Table:
    """The dense backbone on each engine; what could not be timed says why below."""
    table = _table("The dense backbone on static engines", "engine", ENGINE_HEADERS)
    for engine in engines:
        for index, timing in enumerate(engine.timings):
            table.add_row("" if index else f"{engine.name} {engine.version}", *_engine_timing(timing))
    table.caption = "\n".join(f"{engine.name}: {engine.absent}" for engine in engines if engine.absent) or None
    table.caption_justify = "left"
    return table


def _engine_timing(timing: EngineTiming) -> tuple[str, ...]:
    return (
        str(timing.batch),
        f"{timing.p50_ms:.3g}",
        f"{timing.p99_ms:.3g}",
        f"{timing.throughput_ips:.0f}",
        f"{1 / timing.of_eager:.2f}",
    )


STYLES = {
    **dict.fromkeys(FAILING, "bold red"),
    Verdict.UNJUDGED: "bold red",
    Verdict.WARNING: "yellow",
    Verdict.REFUSED: "yellow",
    Verdict.BETTER: "green",
}
CHECK_WIDTH = 22


def check_lines(outcome: CheckResult) -> Iterator[RenderableType]:
    """The table, then in sentences whatever is not simply well, then what it comes to."""
    if outcome.findings:
        yield _check_table(outcome.findings)
    for finding in outcome.findings:
        if finding.verdict is not Verdict.OK:
            yield Text(sentence(finding), style=STYLES[finding.verdict])
    yield from (Text(f"extra, not compared: {extra}") for extra in outcome.extras)
    yield from (Text(note) for note in outcome.notes)
    yield Text(outcome.headline, style="bold green" if outcome.exit_code == PASSED else "bold red")


def _check_table(findings: Sequence[Finding]) -> Table:
    """Each configuration's lines, then its findings, those of a point under its name."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for number, header in enumerate(CHECK_HEADERS):
        justify = "right" if 0 < number < len(CHECK_HEADERS) - 1 else "left"
        table.add_column(header.replace("95 % ", "95 %\n"), no_wrap=True, justify=justify, vertical="bottom")  # type: ignore[arg-type]
    table.columns[0].min_width = CHECK_WIDTH
    for title, group in groupby(findings, key=lambda finding: finding.title):
        for line in wrap_label(title, CHECK_WIDTH):
            table.add_row(Text(line, style="bold"))
        for point, of_point in groupby(group, key=lambda finding: finding.point):
            if point:
                table.add_row(f"  {point}")
            for finding in of_point:
                table.add_row(*_check_row(finding))
    return table


def _check_row(finding: Finding) -> tuple[RenderableType, ...]:
    subject, *others, verdict = cells(finding)
    indent = "    " if finding.point else "  "
    return (f"{indent}{subject}", *others, Text(f" {verdict}", style=STYLES.get(finding.verdict, "")))
