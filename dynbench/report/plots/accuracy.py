"""Accuracy against mean MACs: measured points with their Pareto front, and the papers' quoted points, hollow.

Quoted points are never on the front: they had other budgets, and were counted by other rules.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from dynbench.analysis.analysis import Analysis
from dynbench.analysis.literature import SHOWN_AS
from dynbench.analysis.summary import PointSummary
from dynbench.report.plots.accuracy_key import FRONT, HOLLOW, draw_key
from dynbench.report.plots.accuracy_panel import REACH, Panel, make_panel
from dynbench.report.plots.labels import Label, Position, place_labels
from dynbench.report.plots.style import GREY, broken, method_colour, new_figure, settle

WIDTH, HEIGHT = 8.0, 4.2
MARGIN = 0.09
LOG_FROM = 12
"""Costs that span more than this factor are drawn on a logarithmic axis, if none of them is zero."""


def accuracy_figure(found: Analysis) -> Figure:
    """Draw one panel for each data set, its key beside it; a line of text when no run has finished."""
    panels = [make_panel(found, dataset) for dataset in found.fronts]
    figure = new_figure(WIDTH, HEIGHT * max(1, len(panels)))
    if not panels:
        figure.text(0.5, 0.5, "No run has finished.", ha="center")
        return figure
    grid = figure.subplots(len(panels), 2, squeeze=False, width_ratios=(2.3, 1))
    for (axes, key), panel in zip(grid, panels, strict=True):
        draw_key(key, panel)
        _draw(axes, panel)
    _caption(figure, panels)
    settle(figure)  # before labels can be placed
    for (axes, _), panel in zip(grid, panels, strict=True):
        _write_labels(axes, panel)
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    scale, unit = panel.unit
    axes.set_xlabel(f"mean {unit} per test image")
    axes.set_ylabel("test top-1 accuracy (%)")
    axes.set_title(panel.title)
    axes.grid(visible=True)
    _draw_quoted(axes, panel, scale)
    _draw_trainings(axes, panel, scale)
    _draw_controls(axes, panel, scale)
    axes.margins(x=MARGIN, y=MARGIN)
    _limit(axes, panel, scale)
    _draw_front(axes, panel, scale)


def _limit(axes: Axes, panel: Panel, scale: float) -> None:
    """Settle the limits, so that the front can reach the right edge."""
    axes.autoscale_view()
    if max(panel.costs) > LOG_FROM * min(panel.costs) > 0:
        axes.set_xscale("log")
        axes.set_xlim(min(panel.costs) / scale / 1.25, max(panel.costs) / scale * 1.25)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(max(0, axes.get_xlim()[0]), axes.get_xlim()[1])
    axes.set_ylim(axes.get_ylim()[0], min(axes.get_ylim()[1], 100.4))
    axes.autoscale(enable=False)


def _draw_quoted(axes: Axes, panel: Panel, scale: float) -> None:
    """A letter in a circle for each; the key says which is which."""
    for letter, row in zip(panel.letters, panel.quoted, strict=True):
        axes.plot([row.macs / scale], [row.top1], **HOLLOW, zorder=2)
        axes.annotate(
            letter,
            (row.macs / scale, row.top1),
            ha="center",
            va="center_baseline",
            fontsize=5.5,
            color=GREY,
            zorder=2,
        )


def _draw_trainings(axes: Axes, panel: Panel, scale: float) -> None:
    """The operating points of each training, tied together; where they coincide, each is seen round the next.

    What looks alike is drawn at once: a thousand lines of one point each take a minute.
    """
    ties: defaultdict[str, list[list[Position]]] = defaultdict(list)
    alike: defaultdict[_Look, list[PointSummary]] = defaultdict(list)
    for points in panel.trainings:
        colour = method_colour(points[0].configuration.run.method)
        ties[colour].append(_line(points, scale))
        for index, point in enumerate(points):
            same_height = index > 0 and point.test_top1 == points[index - 1].test_top1  # one bar says it
            bars = point.macs.half_width is not None, point.test_top1.half_width is not None and not same_height
            alike[_Look(colour, panel.markers[point.name], index, *bars)].append(point)
    for colour, lines in ties.items():
        axes.plot(*broken(lines), color=colour, linewidth=0.8, linestyle=":", alpha=0.8, zorder=3)
    for look, points in alike.items():
        _draw_points(axes, look, points, scale)


class _Look(NamedTuple):
    """How an operating point is drawn, the `order`th of its training."""

    colour: str
    marker: str
    order: int
    across: bool
    """Whether it has an interval of costs."""
    up: bool


def _draw_points(axes: Axes, look: _Look, points: Sequence[PointSummary], scale: float) -> None:
    axes.errorbar(
        [point.macs.mean / scale for point in points],
        [point.test_top1.mean for point in points],
        xerr=[(point.macs.half_width or 0) / scale for point in points] if look.across else None,
        yerr=[point.test_top1.half_width or 0 for point in points] if look.up else None,
        fmt=look.marker,
        color=look.colour,
        linestyle="none",
        markersize=4.4 + 2.0 * look.order,
        markeredgecolor="white",
        markeredgewidth=0.6,
        elinewidth=0.8,
        zorder=6 - look.order / 10,
    )


def _line(points: Iterable[PointSummary], scale: float) -> list[Position]:
    """Where `points` lie: costs in units of `scale` MACs, accuracies in per cent."""
    return [(point.macs.mean / scale, point.test_top1.mean) for point in points]


def _draw_controls(axes: Axes, panel: Panel, scale: float) -> None:
    """A thin line through the costs of each static net."""
    for curve in panel.control_curves:
        colour = method_colour(curve[0].configuration.run.method)
        axes.plot(*broken([_line(curve, scale)]), color=colour, linewidth=0.8, zorder=3)


def _draw_front(axes: Axes, panel: Panel, scale: float) -> None:
    """Steps: at a given cost, the best accuracy that was measured."""
    xs, ys = zip(*_line(panel.front, scale), strict=True)
    axes.plot([*xs, axes.get_xlim()[1]], [*ys, ys[-1]], **FRONT, zorder=1)


def _caption(figure: Figure, panels: Sequence[Panel]) -> None:
    counts = {estimate.n for panel in panels for point in panel.points for estimate in [point.test_top1]}
    parts = ["Bars: 95 % intervals over seeds."] if max(counts) > 1 else ["One seed: no intervals."]
    left_out = sum(panel.left_out for panel in panels)
    if left_out:
        parts.append(
            f"{left_out} quoted points cost over {REACH} times more or less than anything measured and are not "
            f"drawn; see {SHOWN_AS}."
        )
    figure.supxlabel(" ".join(parts), fontsize=6.5, color=GREY, x=0.01, ha="left")


def _write_labels(axes: Axes, panel: Panel) -> None:
    """What tells the trainings of one colour apart, beside the first operating point of each."""
    scale, _ = panel.unit
    labels = [
        Label(first.macs.mean / scale, first.test_top1.mean, text, method_colour(first.configuration.run.method))
        for first, *_ in panel.labelled
        if (text := panel.differing(first.configuration))
    ]
    marks = [*_line(panel.points, scale), *((row.macs / scale, row.top1) for row in panel.quoted)]
    lines = [_line(line, scale) for line in (*panel.trainings, *panel.control_curves)]
    place_labels(axes, labels, marks, [*lines, *(_bar(first, scale) for first, *_ in panel.trainings)])


def _bar(point: PointSummary, scale: float) -> list[Position]:
    """The ends of an accuracy's interval."""
    reach = point.test_top1.half_width or 0
    return [(point.macs.mean / scale, point.test_top1.mean + end) for end in (-reach, reach)]
