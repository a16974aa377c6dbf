"""Everything that `dynbench report` writes into a results folder."""

from collections.abc import Sequence
from pathlib import Path

from dynbench.files import write_atomically
from dynbench.record import Record
from dynbench.report.control import Comparison
from dynbench.report.files import TABLE
from dynbench.report.literature import read_literature
from dynbench.report.markdown import markdown_report
from dynbench.report.plots import draw_plots


def write_report(results: Path, records: Sequence[Record], comparisons: Sequence[Comparison]) -> tuple[Path, ...]:
    """Write `results`/table.md and the plots; return the files. Raises UserError."""
    table = results / TABLE
    write_atomically(table, markdown_report(records, comparisons, read_literature()).encode())
    return (table, *draw_plots(results, records))
