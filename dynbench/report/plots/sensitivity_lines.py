"""Accuracy against the share of filters that one layer alone has lost: as Li et al.'s figure 2b, a panel a stage."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

from dynbench.evaluation.layer_sensitivity import LayerSensitivity, Scan
from dynbench.report.plots.style import GREY, new_figure

PANEL_WIDTH, HEIGHT, REST = 2.2, 3.0, 0.9
COLOURS = ("#0072B2", "#009E73", "#D55E00", "#CC79A7")
"""One for each stage; its layers go from pale to full."""
PALE = 0.4
"""Of white in the palest."""
LABEL_GAP = 0.052
"""Between two labels, as a share of the axis."""


def sensitivity_figure(scan: Scan, title: str) -> Figure:
    """Return a panel for each stage with a line for each layer; the layers that fall visibly carry their numbers."""
    stages = list(dict.fromkeys(layer.stage for layer in scan.layers))
    figure = new_figure(REST + PANEL_WIDTH * len(stages), HEIGHT)
    panels = figure.subplots(1, len(stages), squeeze=False, sharey=True)[0]
    lowest = min(min(layer.top1) for layer in scan.layers)
    margin = 0.04 * (scan.whole - lowest)
    for index, (axes, stage) in enumerate(zip(panels, stages, strict=True)):
        layers = [layer for layer in scan.layers if layer.stage == stage]
        axes.set_ylim(lowest - margin, scan.whole + max(2 * margin, 0.1))
        _draw(axes, scan, layers, COLOURS[index % len(COLOURS)])
        axes.set_title(f"{stage}, {_counts(layers)} filters a layer")
    panels[0].set_ylabel(f"top-1 on {scan.images} validation images (%)")
    figure.supxlabel("filters removed from one layer alone (%); pale: a stage's first layers", fontsize=8.5)
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    return figure


def _counts(layers: list[LayerSensitivity]) -> str:
    return " or ".join(str(count) for count in sorted({layer.filters for layer in layers}))


def _draw(axes: Axes, scan: Scan, layers: list[LayerSensitivity], colour: str) -> None:
    shades = LinearSegmentedColormap.from_list("shades", [_pale(colour), to_rgb(colour)])
    colours = [shades(position) for position in np.linspace(0, 1, len(layers))]
    axes.axhline(scan.whole, color=GREY, linewidth=0.8, linestyle="--", zorder=1)
    axes.grid(visible=True, axis="y")
    for layer, line in zip(layers, colours, strict=True):
        removed = [100 * count / layer.filters for count in layer.removed]
        axes.plot([0, *removed], [scan.whole, *layer.top1], color=line, linewidth=1.2, marker="o", markersize=2)
    axes.set_xlim(0, 100 * max(max(layer.removed) / layer.filters for layer in layers))
    low, high = axes.get_ylim()
    visible = scan.whole - LABEL_GAP * (high - low)
    fallen = [(layer, line) for layer, line in zip(layers, colours, strict=True) if layer.top1[-1] < visible]
    heights = _apart([layer.top1[-1] for layer, _ in fallen], low, high)
    for (layer, line), y in zip(fallen, heights, strict=True):
        axes.annotate(
            str(layer.number),
            (1, y),
            xycoords=axes.get_yaxis_transform(),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color=line,
            annotation_clip=False,
        )


def _pale(colour: str) -> tuple[float, float, float]:
    red, green, blue = (part + PALE * (1 - part) for part in to_rgb(colour))
    return red, green, blue


def _apart(values: list[float], low: float, high: float) -> list[float]:
    """Heights of labels near `values`, within [low, high], that do not cover one another if there is room."""
    gap = min(LABEL_GAP * (high - low), (high - low) / max(1, len(values) - 1))
    order = np.argsort(values, kind="stable")
    placed = np.array(values)[order]
    for index in range(1, len(placed)):
        placed[index] = max(placed[index], placed[index - 1] + gap)
    limit = high
    for index in reversed(range(len(placed))):
        placed[index] = limit = min(placed[index], limit)
        limit -= gap
    heights = np.empty_like(placed)
    heights[order] = placed
    return [float(height) for height in heights]
