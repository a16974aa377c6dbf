"""The key of the accuracy plot: methods and operating points above, quoted points below."""

from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dynbench.report.plots.accuracy_panel import Panel
from dynbench.report.plots.style import GREY, method_colour

KEY_WIDTH = 34
"""Letters of a line that fit beside the plot."""
FRONT: dict[str, Any] = {"drawstyle": "steps-post", "color": "#E0B000", "linewidth": 2.2, "alpha": 0.6}
HOLLOW: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 8,
    "markerfacecolor": "white",
    "markeredgecolor": GREY,
    "markeredgewidth": 0.7,
}


def draw_key(axes: Axes, panel: Panel) -> None:
    """Fill `axes`, which show nothing else."""
    axes.axis("off")
    methods = dict.fromkeys(point.configuration.run.method for point in panel.points)
    handles = [_method(panel, method) for method in methods]
    handles += [_mark(name, GREY, marker) for name, marker in panel.markers.items() if name != "default"]
    handles.append(Line2D([], [], **FRONT, label="Pareto front, measured"))
    measured = axes.legend(handles=handles, loc="upper left", borderaxespad=0, handlelength=1.6)
    if panel.quoted:
        axes.add_artist(measured)
        _draw_quoted_key(axes, panel)


def _draw_quoted_key(axes: Axes, panel: Panel) -> None:
    lines = [f"{letter}  {row.label}" for letter, row in zip(panel.letters, panel.quoted, strict=True)]
    axes.legend(
        handles=[Line2D([], [], linestyle="none", label=line) for line in lines],
        title="Quoted, not reproduced (hollow)",
        alignment="left",
        loc="lower left",
        borderaxespad=0,
        handlelength=0,
        handletextpad=0,
        labelspacing=0.25,
        fontsize=6.3,
        title_fontsize=7,
        labelcolor=GREY,
    )


def _method(panel: Panel, method: str) -> Line2D:
    """A method with the parameters that all its trainings share."""
    shared = panel.shared(method)
    if panel.configurations(method)[0].static:
        label = _wrapped(f"{method} (static)", *shared)
        colour = method_colour(method)
        return Line2D([], [], color=colour, marker="o", markersize=5, linewidth=0.8, label=label)
    return _mark(_wrapped(method, *shared), method_colour(method), "o")


def _wrapped(*words: str) -> str:
    return fill(" ".join(words), KEY_WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _mark(label: str, colour: str, marker: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, markersize=5, linestyle="none", label=label)
