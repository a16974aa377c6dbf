"""Realised against MAC-predicted speed-up: on the diagonal every saved MAC was saved time."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from dynbench.analysis.latency import Block, TimedPoint, speed_up
from dynbench.analysis.summary import CONTROL, pareto_front
from dynbench.plan.run import Run
from dynbench.record.schema import Timing
from dynbench.report.plots.labels import Label, Position, place_labels
from dynbench.report.plots.style import GREY, LABELS, broken, method_colour, new_figure, point_markers, settle

PANEL, HEIGHT, KEY = 3.4, 3.9, 1.8
ROOM = 1.2
"""Factor left free around what is drawn."""
_ENGINE_LINES = (":", "-.", (0, (5, 1, 1, 1, 1, 1)))

Drawn = tuple[TimedPoint, Timing]
Limits = tuple[tuple[float, float], tuple[float, float]]


def realised_figure(timed: Sequence[Block]) -> Figure:
    """Draw a row for each of at least one block.

    A panel for its smallest and one for its largest batch size, their key beside them.
    """
    columns = max(len(block.ends) for block in timed)
    figure = new_figure(PANEL * columns + KEY, HEIGHT * len(timed))
    grid = figure.subplots(len(timed), columns + 1, squeeze=False, width_ratios=[PANEL] * columns + [KEY])
    for row, block in zip(grid, timed, strict=True):
        for axes in row:
            axes.axis("off")
        for axes, batch in zip(row[:columns], block.ends, strict=False):
            _draw(axes, block, batch)
        conditions = block.conditions
        break_ = "\n" if columns == 1 else " "  # over one panel it would be cut off
        head = f"{conditions.net}, dense {block.macs_dense} MACs;{break_}{conditions.machine}"
        row[0].set_title(f"{head}\n\nbatch {block.ends[0]}", fontsize=8)
        row[0].set_ylabel("realised speed-up: dense time / method time")
        _draw_key(row[-1], block)
    settle(figure)  # before labels can be placed
    for row, block in zip(grid, timed, strict=True):
        for axes, batch in zip(row[:columns], block.ends, strict=False):
            _write_labels(axes, block, batch)
    return figure


def _at(block: Block, batch: int) -> list[Drawn]:
    """What was timed at a batch size."""
    return [(timed, timing) for timed in block.points if (timing := timed.at(batch))]


def _engine_speeds(block: Block, batch: int) -> dict[str, float]:
    """How many times as fast as in eager PyTorch, the first of the engines, the dense backbone is on the others."""
    return {
        engine.name: 1 / timing.of_eager
        for engine in block.engines[1:]
        for timing in engine.timings
        if timing.batch == batch
    }


def _engine_lines(block: Block) -> dict[str, object]:
    """A line style for each static engine that was timed."""
    names = dict.fromkeys(name for batch in block.ends for name in _engine_speeds(block, batch))
    return {name: _ENGINE_LINES[index % len(_ENGINE_LINES)] for index, name in enumerate(names)}


def _limits(block: Block) -> Limits:
    """The same axes for every panel of a block; speed-up 1 is always on both."""
    drawn = [one for batch in block.ends for one in _at(block, batch)]
    across = [1.0, *(timed.promised(timing) for timed, timing in drawn)]
    up = [1.0, *(speed_up(timing) for _, timing in drawn)]
    up += [speed for batch in block.ends for speed in _engine_speeds(block, batch).values()]
    return (min(across) / ROOM, max(across) * ROOM), (min(up) / ROOM, max(up) * ROOM)


def _draw(axes: Axes, block: Block, batch: int) -> None:
    (left, right), (bottom, top) = _limits(block)
    axes.axis("on")
    axes.set_title(f"batch {batch}", fontsize=8)
    axes.set_xlabel("predicted speed-up: dense MACs / method MACs")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
    axes.grid(visible=True)
    axes.plot([left, right], [left, right], color="black", linewidth=0.8, zorder=2)
    axes.axhline(1, color=GREY, linewidth=0.9, linestyle="--", zorder=2)
    lines = _engine_lines(block)
    for name, speed in _engine_speeds(block, batch).items():
        axes.axhline(speed, color=GREY, linewidth=0.9, linestyle=lines[name], zorder=2)
    _draw_points(axes, block, batch)


def _by_run(block: Block, batch: int) -> list[list[Drawn]]:
    """The operating points of each run."""
    return [list(group) for _, group in groupby(_at(block, batch), key=lambda one: one[0].run.run_id)]


def _draw_points(axes: Axes, block: Block, batch: int) -> None:
    """The operating points, those of a run tied together. What looks alike is drawn at once."""
    ties: defaultdict[str, list[list[Position]]] = defaultdict(list)
    alike: defaultdict[tuple[str, str], list[Position]] = defaultdict(list)
    markers = _markers(block)
    for line in _by_run(block, batch):
        colour = method_colour(line[0][0].run.method)
        ties[colour].append(list(map(_place, line)))
        for one in line:
            alike[colour, markers[one[0].point.name]].append(_place(one))
    for colour, lines in ties.items():
        axes.plot(*broken(lines), color=colour, linewidth=0.8, linestyle=":", alpha=0.8, zorder=3)
    for (colour, marker), places in alike.items():
        axes.plot(
            *zip(*places, strict=True),
            marker=marker,
            color=colour,
            markersize=6,
            markeredgecolor="white",
            markeredgewidth=0.6,
            linestyle="none",
            zorder=5,
        )


def _place(one: Drawn) -> Position:
    timed, timing = one
    return timed.promised(timing), speed_up(timing)


def _write_labels(axes: Axes, block: Block, batch: int) -> None:
    """What tells the runs of one method apart, once for all its seeds.

    Of more than there is room for, the fastest for what they promise.
    """
    lines = _by_run(block, batch)
    labels: dict[str, Label] = {}
    for line in lines:
        run = line[0][0].run
        text = _differing(run, block)
        if text:
            labels.setdefault(f"{run.method} {text}", Label(*_place(line[0]), text, method_colour(run.method)))
    corners = [[_place(one) for one in line] for line in lines]
    marks = [place for line in corners for place in line]
    place_labels(axes, _notable(list(labels.values())), marks, [*corners, *_rules(block, batch)])


def _notable(labels: list[Label]) -> Sequence[Label]:
    """All labels, or where there is no room for them, those of the front: nothing that promises as much is faster."""
    if len(labels) <= LABELS:
        return labels
    return pareto_front(labels, cost=lambda label: -label.x, gain=lambda label: label.y)


def _rules(block: Block, batch: int) -> list[list[Position]]:
    """The ends of the diagonal and of the horizontal lines."""
    (left, right), (bottom, top) = _limits(block)
    low, high = max(left, bottom), min(right, top)
    levels = [1.0, *_engine_speeds(block, batch).values()]
    return [[(low, low), (high, high)], *([(left, level), (right, level)] for level in levels)]


def _differing(run: Run, block: Block) -> str:
    """The parameters of a run that not every run of its method has, a line each; the width of a dense net always."""
    words = block.names.differing(run)
    if not words and not block.names.several(run):
        return ""
    if run.method == CONTROL:
        rest = (word for word in words if not word.startswith("width="))
        words = [f"width {run.built.width:.3g}", *rest]
    return "\n".join(words) or "defaults"


def _markers(block: Block) -> dict[str, str]:
    return point_markers(timed.point.name for timed in block.points)


def _draw_key(axes: Axes, block: Block) -> None:
    """Methods by colour, operating points by marker, and what the lines are."""
    methods = dict.fromkeys(timed.run.method for timed in block.points)
    handles = [_mark(method, method_colour(method), "o") for method in methods]
    handles += [_mark(name, GREY, marker) for name, marker in _markers(block).items() if name != "default"]
    handles.append(Line2D([], [], color="black", linewidth=0.8, label="every saved MAC\nis saved time"))
    styles = {"eager PyTorch": "--", **_engine_lines(block)}
    handles += [_line(f"dense, {name}", style) for name, style in styles.items()]
    axes.legend(handles=handles, loc="upper left", borderaxespad=0, handlelength=2.2)


def _mark(label: str, colour: str, marker: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, markersize=5, linestyle="none", label=label)


def _line(label: str, style: object) -> Line2D:
    return Line2D([], [], color=GREY, linewidth=0.9, linestyle=style, label=label)  # type: ignore[arg-type]
