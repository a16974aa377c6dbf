"""Labels beside points that do not lie on each other, on points or outside the axes."""

from collections.abc import Sequence
from dataclasses import dataclass

import textalloc
from matplotlib.axes import Axes

Position = tuple[float, float]


@dataclass(frozen=True)
class Label:
    """Text for the point at (`x`, `y`) in data units."""

    x: float
    y: float
    text: str
    colour: str


def place_labels(
    axes: Axes, labels: Sequence[Label], marks: Sequence[Position], lines: Sequence[Sequence[Position]]
) -> None:
    """Write each label where it hides nothing, if there is such a place, and tie it to its point by a thin line.

    It hides none of `marks`, the points drawn, and of `lines`, their corners.

    Everything is in data units; the axes must have their final limits and size.
    """
    if not labels:
        return
    ordered = sorted(labels, key=lambda label: (label.x, label.y))
    colours = [label.colour for label in ordered]
    textalloc.allocate(
        axes,
        [label.x for label in ordered],
        [label.y for label in ordered],
        [label.text for label in ordered],
        x_scatter=[x for x, _ in marks],
        y_scatter=[y for _, y in marks],
        x_lines=[[x for x, _ in line] for line in lines],
        y_lines=[[y for _, y in line] for line in lines],
        textsize=6.5,
        textcolor=colours,
        linecolor=colours,
        linewidth=0.4,
        margin=0.009,
        min_distance=0.014,
        max_distance=0.12,
        zorder=8,
        bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.3},
    )
