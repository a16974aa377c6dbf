"""Labels beside points that do not lie on each other, on points or outside the axes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

# Where a label may stand, in points from its mark, best first: (right, up) and how it is aligned.
_NEAR = (
    (0, 6, "center", "bottom"),
    (0, -6, "center", "top"),
    (5, 5, "left", "bottom"),
    (5, -5, "left", "top"),
    (-5, 5, "right", "bottom"),
    (-5, -5, "right", "top"),
    (7, 0, "left", "center"),
    (-7, 0, "right", "center"),
)
_FAR = tuple((x * far, y * far, h, v) for far in (2.2, 3.5, 5) for x, y, h, v in _NEAR)
_MARK, _LINE = 4.0, 1.2
"""Half the side of the square that a mark takes, and a place on a line, in points."""
_STEP = 3.0
"""Distance between the places of a line that are kept free, in points."""
_LEADER = 10
"""A label further than this from its mark, in points, is tied to it by a line."""


Position = tuple[float, float]


@dataclass(frozen=True)
class Label:
    """Text for the point at (`x`, `y`) in data units."""

    x: float
    y: float
    text: str
    colour: str


@dataclass
class _Taken:
    """Where something stands already, in pixels."""

    boxes: list[Bbox] = field(default_factory=list)

    def overlap(self, box: Bbox) -> float:
        """Area of `box` that is taken, in pixels squared."""
        shared = (Bbox.intersection(box, other) for other in self.boxes)
        return sum(part.width * part.height for part in shared if part is not None)


def place_labels(
    axes: Axes, labels: Sequence[Label], marks: Sequence[Position], lines: Sequence[Sequence[Position]]
) -> None:
    """Write each label where it hides the least of `marks`, the points drawn, and `lines`, their corners.

    Everything is in data units; the axes must have their final limits and size.
    """
    corners = [[axes.transData.transform(position) for position in line] for line in lines]
    taken = _Taken([_box(axes, axes.transData.transform(mark), _MARK) for mark in marks])
    taken.boxes += [_box(axes, place, _LINE) for line in corners for place in _along(axes, line)]
    for label in sorted(labels, key=lambda label: (label.x, label.y)):
        best = min(_tried(axes, label, taken), key=lambda trial: trial[0])
        annotation = _write(axes, label, best[1])
        taken.boxes.append(_extent(axes, annotation))


def _along(axes: Axes, corners: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Places on a line through `corners`, all in pixels."""
    for start, end in pairwise(corners):
        count = int(np.hypot(*(end - start)) / (_STEP * _pixels(axes))) + 1
        yield from (start + (end - start) * index / count for index in range(count + 1))


Place = tuple[float, float, str, str]


def _tried(axes: Axes, label: Label, taken: _Taken) -> Iterator[tuple[float, Place]]:
    """Every place with how bad it is, up to the first that is good."""
    for rank, place in enumerate((*_NEAR, *_FAR)):
        annotation = _write(axes, label, place)
        box = _extent(axes, annotation)
        annotation.remove()
        outside = box.width * box.height - _inside(box, axes.bbox)
        badness = taken.overlap(box) + 10 * outside
        yield badness + rank, place
        if badness == 0:
            return


def _inside(box: Bbox, frame: Bbox) -> float:
    shared = Bbox.intersection(box, frame)
    return 0.0 if shared is None else shared.width * shared.height


def _write(axes: Axes, label: Label, place: Place) -> Annotation:
    right, up, horizontal, vertical = place
    far = float(np.hypot(right, up)) > _LEADER
    return axes.annotate(
        label.text,
        (label.x, label.y),
        xytext=(right, up),
        textcoords="offset points",
        ha=horizontal,
        va=vertical,
        fontsize=6.5,
        color=label.colour,
        zorder=8,
        arrowprops=_leader(label.colour) if far else None,
        bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.3},
    )


def _leader(colour: str) -> dict[str, Any]:
    return {"arrowstyle": "-", "linewidth": 0.4, "color": colour, "shrinkB": 3}


def _extent(axes: Axes, annotation: Annotation) -> Bbox:
    """The text's box in pixels, without its line."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    annotation.update_positions(figure.canvas.get_renderer())  # type: ignore[attr-defined]
    return Text.get_window_extent(annotation)


def _box(axes: Axes, centre: np.ndarray, half: float) -> Bbox:
    """The square around `centre` (pixels), `half` its side's half in points."""
    across, up = centre
    reach = half * _pixels(axes)
    return Bbox.from_extents(across - reach, up - reach, across + reach, up + reach)


def _pixels(axes: Axes) -> float:
    """Pixels in a point."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure.dpi / 72
