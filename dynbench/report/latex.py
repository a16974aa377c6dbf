"""The tables of results in LaTeX, to be pasted into a paper; they need its package booktabs."""

import re
from collections.abc import Iterable, Iterator

from dynbench.analysis.analysis import Analysis
from dynbench.report.accuracy_tables import results_table
from dynbench.report.layout import Table

_COMMANDS = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
_COMMANDS |= {letter: rf"\text{name}{{}}" for letter, name in (("<", "less"), (">", "greater"), ("|", "bar"))}
_LETTERS = re.compile(r"[\\~^±&%$#_{}<>|]")


def latex_report(found: Analysis) -> str:
    """Return a table for each setting, one after another, with its title as caption."""
    return "\n".join(latex_table(results_table(found, setting)) for setting in found.settings)


def latex_table(table: Table) -> str:
    """Return a `table` environment: columns of words are aligned to the left, the others to the right."""
    return "\n".join(_lines(table)) + "\n"


def _lines(table: Table) -> Iterator[str]:
    yield r"\begin{table}"
    yield rf"\caption{{{escaped('; '.join(filter(None, (table.title, table.subtitle))))}}}"
    yield rf"\begin{{tabular}}{{{''.join('l' if column.words else 'r' for column in table.columns)}}}"
    yield r"\toprule"
    yield _row(column.name for column in table.columns)
    yield r"\midrule"
    yield from (_row(row.cells) for row in table.rows)
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield from (escaped(note) for note in table.notes)
    yield r"\end{table}"


def _row(cells: Iterable[str]) -> str:
    return rf"{' & '.join(map(escaped, cells))} \\"


def escaped(text: str) -> str:
    """Return `text` on one line, where LaTeX takes no letter of it for a command."""
    return _LETTERS.sub(_letter, " ".join(text.split()))


def _letter(found: re.Match[str]) -> str:
    letter = found[0]
    return _COMMANDS.get(letter) or f"\\{letter}"
