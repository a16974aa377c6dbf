"""How every figure looks: colours, markers, and files that are the same each time they are drawn."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from math import nan
from pathlib import Path
from typing import Any
from zlib import crc32

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dynbench.files import write_atomically

# Okabe and Ito's palette, told apart by colour-blind readers (https://jfly.uni-koeln.de/color/): of the methods that
# the committed plots show. It has no colour left, and no other method need be named here.
_KNOWN = {
    "dense": "#000000",
    "lc_net": "#D55E00",
    "c_net": "#0072B2",
    "l_net": "#009E73",
    "filter_pruning": "#CC79A7",
    "nisp": "#E69F00",
    "blockdrop": "#56B4E9",
}
# Paul Tol's muted palette (https://sronpersonalpages.nl/~pault/), without what is like a colour above: of all others.
_OTHERS = ("#332288", "#117733", "#999933", "#CC6677", "#882255", "#AA4499")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

GREY = "#767676"
DPI = 200
LABELS = 24
"""Labels that a panel has room for: of more, only what is notable is labelled."""
_RC: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so every machine draws the same
    "font.size": 8,
    "axes.labelsize": 8.5,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "svg.hashsalt": "dynbench",
    "svg.fonttype": "path",  # labels are placed for this font, which not every viewer has
}


@contextmanager
def styled() -> Iterator[None]:
    """Have figures made and written in this style inside the block; the process's own settings stay as they were.

    A character that the font lacks is drawn as a box, and nothing is said of it: names are other people's.
    """
    with rc_context(_RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of `width` x `height` inches that belongs to no global state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def method_colour(method: str) -> str:
    """Return a method's colour: the same in every figure, on every machine.

    Whatever else is installed or drawn. Two new methods may have the same.
    """
    return _KNOWN.get(method) or _OTHERS[crc32(method.encode()) % len(_OTHERS)]


def broken(lines: Iterable[Sequence[tuple[float, float]]]) -> tuple[list[float], list[float]]:
    """Return the corners of `lines` as the xs and ys of one line that breaks between them: drawn at once."""
    corners = [corner for line in lines for corner in (*line, (nan, nan))]
    return [x for x, _ in corners[:-1]], [y for _, y in corners[:-1]]


def point_markers(points: Iterable[str]) -> dict[str, str]:
    """Return a marker for each operating point, in the order given."""
    names = list(dict.fromkeys(points))
    return {name: _MARKERS[index % len(_MARKERS)] for index, name in enumerate(names)}


def settle(figure: Figure) -> None:
    """Lay `figure` out, once for whatever is drawn of it: that takes longer than drawing."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def save(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write `stem`.png and `stem`.svg: the same bytes for the same figure. Raises UserError."""
    with styled():
        settle(figure)
        png, svg = stem.with_suffix(".png"), stem.with_suffix(".svg")
        write_atomically(png, _render(figure, "png", {"Software": None}))
        write_atomically(svg, _render(figure, "svg", {"Date": None, "Creator": "dynbench"}))
    return png, svg


def _render(figure: Figure, to: str, metadata: dict[str, str | None]) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format=to, dpi=DPI, metadata=metadata)
    return buffer.getvalue()
