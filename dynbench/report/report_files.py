"""Everything that `dynbench report` writes into a results folder: its page, and every plot there is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from dynbench.analysis.analysis import Analysis
from dynbench.files import write_atomically
from dynbench.report.markdown import markdown_report
from dynbench.report.page.page import html_page
from dynbench.report.plots.accuracy import accuracy_figure
from dynbench.report.plots.curves import curves_figure
from dynbench.report.plots.histogram import histogram_figure
from dynbench.report.plots.realised import realised_figure
from dynbench.report.plots.style import save, styled


@dataclass(frozen=True)
class Plot:
    """A figure of a results folder: the name of its files, and what draws it; None: there is nothing to draw."""

    name: str
    draw: Callable[[Analysis], Figure | None]


PLOTS = (
    Plot("accuracy-macs", accuracy_figure),
    Plot("macs-histogram", histogram_figure),
    Plot("curves", lambda found: curves_figure(found.curves) if found.curves else None),
    Plot("realised", lambda found: realised_figure(found.latency) if found.latency else None),
)
"""Every plot: one more is a line here."""


def write_report(found: Analysis) -> tuple[Path, ...]:
    """Write report.html, table.md and the plots into the results folder; return the files. Raises UserError."""
    page, table = found.results.page, found.results.table
    write_atomically(table, markdown_report(found).encode())
    write_atomically(page, html_page(found).encode())
    return (page, table, *draw_plots(found))


def draw_plots(found: Analysis) -> tuple[Path, ...]:
    """Draw every plot into the results folder, as PNG and SVG, and return the files.

    Raises UserError when per-image arrays are missing, the literature is faulty or a file cannot be written.
    """
    with styled():
        figures = {plot.name: figure for plot in PLOTS if (figure := plot.draw(found)) is not None}
    return tuple(path for name, figure in figures.items() for path in save(figure, found.results.plots / name))
