"""The figures of a results folder, from its records alone."""

from collections.abc import Sequence
from pathlib import Path

from dynbench.analysis.latency import blocks
from dynbench.analysis.literature import read_literature
from dynbench.analysis.summary import configurations
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Record
from dynbench.report.plots.accuracy import accuracy_figure
from dynbench.report.plots.histogram import histogram_figure
from dynbench.report.plots.realised import realised_figure
from dynbench.report.plots.style import save, styled


def draw_plots(results: ResultsFolder, records: Sequence[Record]) -> tuple[Path, ...]:
    """Draw everything into `results`/plots, as PNG and SVG, and return the files.

    Raises UserError when per-image arrays are missing, the literature is faulty or a file cannot be written.
    """
    known = configurations(records)
    with styled():
        figures = {
            "accuracy-macs": accuracy_figure(known, read_literature()),
            "macs-histogram": histogram_figure(results, known),
        }
        timed = blocks(records)
        if timed:
            figures["realised"] = realised_figure(timed)
    return tuple(path for name, figure in figures.items() for path in save(figure, results.plots / name))
