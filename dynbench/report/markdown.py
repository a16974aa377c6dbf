"""Tables in GitHub's Markdown, and the page that is made of them, to be committed and pasted into a README."""

from collections.abc import Iterable, Iterator

from dynbench.analysis.analysis import Analysis
from dynbench.analysis.latency import Block
from dynbench.record.schema import Record
from dynbench.report.accuracy_tables import budget_table, controls_table, curves_table, quoted_table, results_table
from dynbench.report.latency_tables import engines_table, latency_table
from dynbench.report.layout import Table, TableColumn


def markdown_report(found: Analysis) -> str:
    """Return the whole report in Markdown.

    The final table, the budgets, the failures, the controls' table, what was timed, and what papers print of the same
    backbones.
    """
    return "\n\n".join(_parts(found)) + "\n"


def _parts(found: Analysis) -> Iterator[str]:
    for setting in found.settings:
        yield from titled(results_table(found, setting))
        yield from titled(budget_table(found, setting))
    if found.failed:
        yield "\n".join(map(_failure, found.failed))
    if found.comparisons:
        yield from titled(controls_table(found.comparisons))
        yield bullets(found.verdicts)
    if found.curves:
        yield from titled(curves_table(found.curves))
    for block in found.latency:
        yield from _latency(block)
    if found.quoted:
        yield from titled(quoted_table(found.quoted))


def _failure(record: Record) -> str:
    return f"- failed: `{record.run_id}`: {one_line(record.error or 'no reason recorded')}"


def _latency(block: Block) -> Iterator[str]:
    """The executors, then the dense backbone's engines, then what has no executor."""
    yield from titled(latency_table(block))
    if block.engines:
        yield from titled(engines_table(block))
    lines = [f"{name} was not timed: {reason}" for name, reason in block.absent]
    lines += [f"simulated, no executor to time: {name}" for name in block.simulated]
    if lines:
        yield bullets(lines)


def titled(table: Table) -> Iterator[str]:
    """Yield the title, the table, and the notes if it has any: a paragraph each."""
    title = "; ".join(filter(None, (table.title, table.subtitle)))
    yield f"**{one_line(title)}**"
    yield rows_of(table)
    if table.notes:
        yield "\\\n".join(f"\\{one_line(note)}" for note in table.notes)  # a mark is no bullet


def rows_of(table: Table) -> str:
    """Return the table without its title: columns of words are aligned to the left, the others to the right."""
    headers = [column.name for column in table.columns]
    lines = (headers, map(_rule, table.columns), *(row.cells for row in table.rows))
    return "\n".join(f"| {' | '.join(map(one_line, line))} |" for line in lines)


def _rule(column: TableColumn) -> str:
    return "---" if column.words else "---:"


def bullets(lines: Iterable[str]) -> str:
    """Return a list with an item for each line."""
    return "\n".join(f"- {one_line(line)}" for line in lines)


def one_line(text: str) -> str:
    """Return `text` where a table cell can take it."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
