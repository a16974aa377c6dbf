"""The tables of a report and of a check for a terminal: 80 columns at one or several seeds."""

from collections.abc import Iterator
from itertools import groupby

from rich import box
from rich.console import OverflowMethod, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from dynbench.analysis.analysis import Analysis
from dynbench.analysis.latency import Block
from dynbench.check.findings_table import findings_table, sentence, tone_of
from dynbench.check.outcome import PASSED, CheckResult, Verdict
from dynbench.cli.terminal import as_message
from dynbench.report.accuracy_tables import budget_table, controls_table, results_table
from dynbench.report.brief import brief_table
from dynbench.report.latency_tables import engines_table, latency_table
from dynbench.report.layout import Brief, Row, Table

NAME_WIDTH = 20
CHECK_WIDTH = 22
BRIEF_WIDTH = 38
"""Of names that are cut: beside it the figures have their 42 columns."""
STYLES = {"": "", "good": "green", "warning": "yellow", "bad": "bold red"}
"""Of each tone of a row."""


def show_brief(found: Analysis) -> RichTable:
    """Return a line for each configuration, a sentence for each dynamic method; below them what failed, and why."""
    outer = RichTable.grid()
    for setting in found.settings:
        table = brief_table(found, setting)
        outer.add_row(rich_table(table, cut=True))
        for note in table.notes:
            outer.add_row(Text(note, style="dim"))
        outer.add_row("")
    for standing in found.standings:
        outer.add_row(Text(f"{standing.sentence(found.names)}."))
    _show_failures(outer, found)
    return outer


def show_results(found: Analysis) -> RichTable:
    """Return one block for each suite, data set and backbone; below them what failed, and why."""
    outer = RichTable.grid()
    for setting in found.settings:
        outer.add_row(rich_table(results_table(found, setting)))
        outer.add_row("")
        outer.add_row(rich_table(budget_table(found, setting)))
        outer.add_row("")
    _show_failures(outer, found)
    return outer


def _show_failures(outer: RichTable, found: Analysis) -> None:
    for record in found.failed:
        reason = as_message(record.error or "no reason recorded")
        outer.add_row(Text(f"failed: {record.run_id}: {reason}", style="red"))


def show_controls(found: Analysis) -> RichTable:
    """Return every dynamic operating point against the nearest static controls, and what it comes to."""
    table = controls_table(found.comparisons)
    outer = RichTable.grid()
    outer.add_row(rich_table(table))
    for line in (*table.notes, *found.verdicts):
        outer.add_row(Text(line))
    return outer


def show_latency(found: Analysis) -> RichTable:
    """Tabulate executors against the dense backbone, and that on static engines. Empty when nothing was timed."""
    outer = RichTable.grid()
    for block in found.latency:
        outer.add_row(rich_table(latency_table(block)))
        if block.engines:
            outer.add_row(_engines(block))
        if block.simulated:
            outer.add_row(Text(f"simulated, no executor to time: {'; '.join(block.simulated)}"))
        outer.add_row("")
    return outer


def _engines(block: Block) -> RichTable:
    """What could not be timed says why below."""
    shown = rich_table(engines_table(block))
    shown.caption = "\n".join(f"{name}: {reason}" for name, reason in block.absent) or None
    shown.caption_justify = "left"
    return shown


def check_lines(outcome: CheckResult) -> Iterator[RenderableType]:
    """Yield the table, then a sentence on each finding that is not a plain pass, then the overall result."""
    if outcome.findings:
        yield rich_table(findings_table(outcome.findings), CHECK_WIDTH)
    for finding in outcome.findings:
        if finding.verdict is not Verdict.OK:
            yield Text(sentence(finding), style=STYLES[tone_of(finding.verdict)])
    yield from (Text(f"extra, not compared: {extra}") for extra in outcome.extras)
    yield from (Text(note) for note in outcome.notes)
    yield Text(outcome.headline, style="bold green" if outcome.exit_code == PASSED else "bold red")


Line = tuple[str | Text, ...]
"""What stands in the first column, then the figures, as many as there are."""


def rich_table(table: Table, name_width: int = NAME_WIDTH, cut: bool = False) -> RichTable:
    """Lay `table` out: names, broken into lines of `name_width`, with what is about them indented below.

    `cut`: names that are too long for one line lose their end.
    """
    shown = RichTable(
        title="\n".join(filter(None, (table.title, table.subtitle))) or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
    )
    first = next(column for column in table.columns if column.place == ("metric" if table.has_metrics else "name"))
    overflow: OverflowMethod = "ellipsis" if cut else "crop"
    shown.add_column(
        first.name,
        no_wrap=True,
        overflow=overflow,
        vertical="bottom",
        min_width=name_width,
        max_width=BRIEF_WIDTH if cut else None,
    )
    for brief in _briefs(table):
        shown.add_column(brief.header, no_wrap=True, justify=brief.align)
    lines = _by_metric if table.has_metrics else _by_point if table.has_points else _by_name
    for _, group in groupby(table.rows, lambda row: row.of):
        for line in lines(table, list(group), name_width):
            shown.add_row(*line)
    return shown


def _briefs(table: Table) -> list[Brief]:
    return [column.brief for column in table.columns if column.brief]


def _by_name(table: Table, rows: list[Row], width: int) -> Iterator[Line]:
    """Rows that have no points: the first beside the name."""
    first, *more = _name(table, rows[0], width)
    yield (first, *_figures(table, rows[0]))
    yield from ((line,) for line in more)
    yield from (("", *_figures(table, row)) for row in rows[1:])


def _by_point(table: Table, rows: list[Row], width: int) -> Iterator[Line]:
    """The name with what is shared, then a line for each row that says its point when it is another."""
    first, *more = _name(table, rows[0], width)
    together = table.compact and len(rows) == 1
    shared = table.at(rows[0], "shared")
    yield (first, *(_figures(table, rows[0]) if together else shared))
    yield from ((line,) for line in more)
    last = ""
    for row in [] if together else rows:
        (point,) = table.at(row, "point")
        yield ("" if point == last else f"  {point}", *[""] * len(shared), *_figures(table, row)[len(shared) :])
        last = point


def _by_metric(table: Table, rows: list[Row], width: int) -> Iterator[Line]:
    """The name, the points, and under each its metrics."""
    yield from ((Text(line, style="bold"),) for line in _name(table, rows[0], width))
    for point, group in groupby(rows, lambda row: table.at(row, "point")[0]):
        if point:
            yield (f"  {point}",)
        for row in group:
            *others, verdict = _figures(table, row)
            (metric,) = table.at(row, "metric")
            yield (f"{'    ' if point else '  '}{metric}", *others, Text(f" {verdict}", style=STYLES[row.tone]))


def _name(table: Table, row: Row, width: int) -> list[str]:
    name = " ".join(table.at(row, "name"))
    return [name] if table.unbroken else wrap_label(name, width)


def _figures(table: Table, row: Row) -> Line:
    """The cells that a terminal shows beside the first column; why there are none, where they are missing."""
    if row.missing:
        return (*table.at(row, "shared"), Text(row.missing, style="red"))
    return tuple(cell for column, cell in zip(table.columns, row.cells, strict=True) if column.brief)


def wrap_label(label: str, width: int = NAME_WIDTH) -> list[str]:
    """Return a label, as `lc_net l1_layer=0.1 ...`, in lines of at most `width`, the later ones indented.

    What is longer is cut.
    """
    lines = [""]
    for word in label.split(" "):
        longer = f"{lines[-1]} {word}".lstrip() if len(lines) == 1 else f"{lines[-1]} {word}"
        if len(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(f"  {word}")
    return [line if len(line) <= width else f"{line[: width - 1]}…" for line in lines]
