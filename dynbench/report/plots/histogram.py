"""MACs of single test images: how differently a dynamic net treats them."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dynbench.analysis.analysis import Analysis
from dynbench.analysis.names import Names
from dynbench.analysis.summary import ConfigurationRecords
from dynbench.errors import UserError
from dynbench.record.folder import ResultsFolder
from dynbench.report.plots.style import GREY, method_colour, new_figure

WIDTH, PANEL_HEIGHT, REST = 7.2, 1.05, 0.9
BINS = 80
PANELS = 16
"""Configurations that a figure has room for."""
CAPTION = 130
"""Letters of a line beneath the panels."""
_STYLES: tuple[dict[str, Any], ...] = (
    {"histtype": "stepfilled", "alpha": 0.55, "linewidth": 0},
    {"histtype": "step", "linewidth": 1.1, "linestyle": "-"},
    {"histtype": "step", "linewidth": 1.1, "linestyle": ":"},
)


@dataclass(frozen=True)
class _Spread:
    """Million MACs of each test image, the seeds together, at one or more operating points that agree."""

    points: tuple[str, ...]
    mmacs: np.ndarray

    @property
    def varies(self) -> bool:
        return bool(self.mmacs.min() < self.mmacs.max())


@dataclass(frozen=True)
class _Panel:
    configuration: ConfigurationRecords
    spreads: tuple[_Spread, ...]

    @property
    def dynamic(self) -> bool:
        return any(spread.varies for spread in self.spreads)


def histogram_figure(found: Analysis) -> Figure:
    """Draw one panel for each configuration whose cost depends on the image; a line of text when there is none.

    Raises UserError when per-image arrays are missing or damaged.
    """
    candidates = [c for c in found.configurations if c.finished and not c.static]
    shown = _with_room(candidates, found)
    panels = [_Panel(c, _spreads(found.results, c)) for c in shown]
    dynamic = [panel for panel in panels if panel.dynamic]
    figure = new_figure(WIDTH, REST + PANEL_HEIGHT * max(1, len(dynamic)))
    if not dynamic:
        figure.text(0.5, 0.5, "No dynamic runs: every net spends the same on every image.", ha="center")
        return figure
    edges = _edges(dynamic)
    all_axes = figure.subplots(len(dynamic), 1, squeeze=False, sharex=True)[:, 0]
    several = len({panel.configuration.setting.backbone for panel in panels}) > 1
    for axes, panel in zip(all_axes, dynamic, strict=True):
        _draw(axes, panel, edges)
        axes.set_title(_name(panel, found.names, several), fontsize=8, pad=3)
    all_axes[-1].set_xlabel("MMACs per test image")
    figure.supylabel("test images (%)", fontsize=8.5)
    _caption(
        figure,
        [_name(panel, found.names, several) for panel in panels if not panel.dynamic],
        len(candidates) - len(shown),
    )
    return figure


def _with_room(candidates: list[ConfigurationRecords], found: Analysis) -> list[ConfigurationRecords]:
    """All of them, or the first `PANELS`, the notable ones before others."""
    if len(candidates) <= PANELS:
        return candidates
    kept = {one.key for one in sorted(candidates, key=lambda one: one.key not in found.notable)[:PANELS]}
    return [configuration for configuration in candidates if configuration.key in kept]


def _name(panel: _Panel, names: Names, several: bool) -> str:
    """With its backbone, where there are `several`."""
    run = panel.configuration.run
    return f"{names.whole(run)}, {run.backbone.name}" if several else names.whole(run)


def _spreads(results: ResultsFolder, configuration: ConfigurationRecords) -> tuple[_Spread, ...]:
    """The operating points, those with the same cost for every image together."""
    found: dict[bytes, _Spread] = {}
    for point in configuration.points:
        mmacs = np.concatenate([_mmacs(results, r.run_id, point.name) for r in configuration.finished])
        same = found.get(mmacs.tobytes())
        found[mmacs.tobytes()] = _Spread((*(same.points if same else ()), point.name), mmacs)
    return tuple(found.values())


def _mmacs(results: ResultsFolder, run_id: str, point: str) -> np.ndarray:
    arrays = results.arrays(run_id, f"{point}/macs")
    if f"{point}/macs" not in arrays:
        raise UserError(f'the per-image arrays of {run_id} have no "{point}/macs"; run it again')
    return np.asarray(arrays[f"{point}/macs"] / 1e6)


def _edges(panels: Sequence[_Panel]) -> list[float]:
    """The same bins for every panel, the dense cost within them."""
    values = [value for p in panels for s in p.spreads for value in (s.mmacs.min(), s.mmacs.max())]
    dense = [panel.configuration.macs_dense / 1e6 for panel in panels]
    edges: list[float] = np.linspace(min(*values, *dense), max(*values, *dense), BINS + 1).tolist()
    return edges


def _draw(axes: Axes, panel: _Panel, edges: list[float]) -> None:
    run = panel.configuration.run
    colour = method_colour(run.method)
    for index, spread in enumerate(panel.spreads):
        axes.hist(
            spread.mmacs,
            bins=edges,
            weights=np.full(len(spread.mmacs), 100 / len(spread.mmacs)),
            color=colour,
            label="\n= ".join(spread.points),
            **_STYLES[index % len(_STYLES)],
        )
    dense = panel.configuration.macs_dense / 1e6
    axes.axvline(dense, color="black", linewidth=0.9, linestyle="--", label=f"dense, {dense:.3g}")
    axes.grid(visible=True, axis="y")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.4)


def _caption(figure: Figure, constant: Sequence[str], left_out: int) -> None:
    parts = [f"The same cost for every image, so not shown: {'; '.join(constant)}."] if constant else []
    if left_out:
        parts.append(f"Also not shown, as there is no room: {left_out} more configurations; see table.md.")
    if parts:
        text = fill(" ".join(parts), CAPTION)
        figure.supxlabel(text, fontsize=6.5, color=GREY, x=0.01, ha="left")
