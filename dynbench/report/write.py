"""Everything that `dynbench report` writes into a results folder."""

from collections.abc import Sequence
from pathlib import Path

from dynbench.analysis.controls import Comparison
from dynbench.analysis.literature import read_literature
from dynbench.files import write_atomically
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Record
from dynbench.report.markdown import markdown_report
from dynbench.report.plots.draw import draw_plots


def write_report(
    results: ResultsFolder, records: Sequence[Record], comparisons: Sequence[Comparison]
) -> tuple[Path, ...]:
    """Write `results`/table.md and the plots; return the files. Raises UserError."""
    write_atomically(results.table, markdown_report(records, comparisons, read_literature()).encode())
    return (results.table, *draw_plots(results, records))
