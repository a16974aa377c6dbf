"""The figures of a results folder, from its records alone."""

from collections.abc import Sequence
from pathlib import Path

from dynbench.record import Record
from dynbench.report.accuracy_plot import accuracy_figure
from dynbench.report.files import PLOTS
from dynbench.report.histogram_plot import histogram_figure
from dynbench.report.latency import blocks
from dynbench.report.literature import read_literature
from dynbench.report.realised_plot import realised_figure
from dynbench.report.style import save, styled
from dynbench.report.summary import configurations


def draw_plots(results: Path, records: Sequence[Record]) -> tuple[Path, ...]:
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
    return tuple(path for name, figure in figures.items() for path in save(figure, results / PLOTS / name))
