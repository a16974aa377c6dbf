"""Curves of operating points, each against the static nets' curve, with the interval of the distance between them."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dynbench.analysis.curves import CurveComparison
from dynbench.report.plots.style import GREY, method_colour, new_figure

WIDTH, PANEL_HEIGHT, REST = 7.2, 2.1, 0.7
LARGE = 1e9


def curves_figure(curves: Sequence[CurveComparison]) -> Figure:
    """Draw one panel for each comparison."""
    figure = new_figure(WIDTH, REST + PANEL_HEIGHT * len(curves))
    all_axes = figure.subplots(len(curves), 1, squeeze=False)[:, 0]
    scale, unit = (LARGE, "GMACs") if max(one.points[-1].macs.mean for one in curves) >= LARGE else (1e6, "MMACs")
    for axes, one in zip(all_axes, curves, strict=True):
        _draw(axes, one, scale)
    all_axes[-1].set_xlabel(f"mean {unit} per test image")
    figure.supylabel("test top-1 accuracy (%)", fontsize=8.5)
    figure.supxlabel(
        "Shaded: the static curve plus the 95 % interval, over test images, of the distance to it.",
        fontsize=6.5,
        color=GREY,
        x=0.01,
        ha="left",
    )
    return figure


def _draw(axes: Axes, one: CurveComparison, scale: float) -> None:
    colour, places = method_colour(one.configuration.run.method), [point.macs / scale for point in one.band]
    low, high = ([point.static + point.difference + sign * point.half_width for point in one.band] for sign in (-1, 1))
    axes.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0)
    for points, own, label in (
        (one.points, colour, one.configuration.run.method),
        (one.controls, method_colour(one.control), f"{one.control}, static"),
    ):
        xs, ys = ([point.macs.mean / scale for point in points], [point.test_top1.mean for point in points])
        axes.plot(xs, ys, color=own, marker="o", markersize=3, linewidth=0.9, label=label)
    axes.set_title(f"{one.configuration.run.label}: {one.difference:+.2f} points on the mean", fontsize=8, pad=3)
    axes.grid(visible=True)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.4)
