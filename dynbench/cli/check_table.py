"""What a check found, for a terminal: 80 columns."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dynbench.check.outcome import PASSED, Finding, Outcome
from dynbench.check.verdict import FAILING, Verdict
from dynbench.check.words import HEADERS, cells, sentence
from dynbench.cli.results_table import wrap_label

STYLES = {
    **dict.fromkeys(FAILING, "bold red"),
    Verdict.UNJUDGED: "bold red",
    Verdict.WARNING: "yellow",
    Verdict.REFUSED: "yellow",
    Verdict.BETTER: "green",
}
NAME_WIDTH = 22


def check_lines(outcome: Outcome) -> Iterator[RenderableType]:
    """The table, then in sentences whatever is not simply well, then what it comes to."""
    if outcome.findings:
        yield _table(outcome.findings)
    for finding in outcome.findings:
        if finding.verdict is not Verdict.OK:
            yield Text(sentence(finding), style=STYLES[finding.verdict])
    yield from (Text(f"extra, not compared: {extra}") for extra in outcome.extras)
    yield from (Text(note) for note in outcome.notes)
    yield Text(outcome.headline, style="bold green" if outcome.exit_code == PASSED else "bold red")


def _table(findings: Sequence[Finding]) -> Table:
    """Each configuration's lines, then its findings, those of a point under its name."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for number, header in enumerate(HEADERS):
        justify = "right" if 0 < number < len(HEADERS) - 1 else "left"
        table.add_column(header.replace("95 % ", "95 %\n"), no_wrap=True, justify=justify, vertical="bottom")  # type: ignore[arg-type]
    table.columns[0].min_width = NAME_WIDTH
    for title, group in groupby(findings, key=lambda finding: finding.title):
        for line in wrap_label(title, NAME_WIDTH):
            table.add_row(Text(line, style="bold"))
        for point, of_point in groupby(group, key=lambda finding: finding.point):
            if point:
                table.add_row(f"  {point}")
            for finding in of_point:
                table.add_row(*_row(finding))
    return table


def _row(finding: Finding) -> tuple[RenderableType, ...]:
    subject, *others, verdict = cells(finding)
    indent = "    " if finding.point else "  "
    return (f"{indent}{subject}", *others, Text(f" {verdict}", style=STYLES.get(finding.verdict, "")))
