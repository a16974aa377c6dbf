"""What ran: on the cheapest and the costliest images, for each class, and where in the image; as pictures of shares."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from dynbench.analysis.analysis import Analysis
from dynbench.analysis.summary import ConfigurationRecords
from dynbench.analysis.words import short_macs
from dynbench.record.usage_arrays import STEPS, PointUsage, point_usage

CONFIGURATIONS = 6
"""That there is room for: notable ones come first."""
IMAGES = 6
"""The cheapest, and as many of the costliest."""
LAYERS = 4
"""Of which pictures are shown, spread over the net."""
ROWS, COLUMNS = 64, 128
"""Most classes and channels of a picture: of more, neighbours are averaged."""
NOTHING, ALL = (245, 240, 225), (20, 40, 110)
"""Colours of nothing and of all: light and dark, so that no colour has to be told from another."""


@dataclass(frozen=True)
class Shares:
    """A picture of shares, light for nothing and dark for all: its `url` holds it, `words` say what is on it."""

    name: str
    url: str
    words: str


@dataclass(frozen=True)
class ImageRow:
    """A test image: its number in the split, its MACs, whether the answer was right, and which layers ran."""

    number: int
    macs: str
    right: bool
    layers: Shares


@dataclass(frozen=True)
class Ran:
    """What ran at the first operating point of a configuration that varies, of its first seed."""

    configuration: ConfigurationRecords
    point: str
    seed: int
    cheapest: tuple[ImageRow, ...]
    costliest: tuple[ImageRow, ...]
    classes: tuple[Shares, ...]
    """Class by channel: which share of a class's images ran a channel; a picture a layer."""
    positions: tuple[Shares, ...]
    """Where in the image work was spent; a picture a layer."""


def what_ran(found: Analysis) -> tuple[Ran, ...]:
    """Return what is recorded of the most notable configurations; of older records, and of static nets, nothing is.

    Raises UserError when per-image arrays are missing or damaged.
    """
    candidates = [one for one in found.configurations if one.finished and not one.static]
    chosen = sorted(candidates, key=lambda one: one.key not in found.notable)[:CONFIGURATIONS]
    return tuple(ran for one in chosen if (ran := _ran(found, one)))


def _ran(found: Analysis, configuration: ConfigurationRecords) -> Ran | None:
    record = configuration.finished[0]
    arrays = found.results.arrays(record.run_id)
    for point in record.points:
        usage = point_usage(arrays, point.name)
        if usage is not None:
            macs, right = arrays[f"{point.name}/macs"], arrays[f"{point.name}/correct"]
            order = np.argsort(macs, kind="stable")
            rows = [_row(int(number), macs, right, usage) for number in (*order[:IMAGES], *order[::-1][:IMAGES])]
            half = len(rows) // 2
            classes = tuple(_pictures(usage.activation, "of a class's images ran a channel; a row a class"))
            positions = tuple(_pictures(usage.positions, "of the images ran a position"))
            seed = record.run.seed
            return Ran(configuration, point.name, seed, tuple(rows[:half]), tuple(rows[half:]), classes, positions)
    return None


def _row(number: int, macs: np.ndarray, right: np.ndarray, usage: PointUsage) -> ImageRow:
    shares = usage.shares[number][None]
    off, whole = int((shares == 0).sum()), int((shares == STEPS).sum())
    words = f"of {shares.shape[1]} groups of gated layers {whole} ran whole, {off} not at all"
    return ImageRow(number, short_macs(float(macs[number])), bool(right[number]), Shares("", picture(shares), words))


def _pictures(by_layer: Mapping[str, np.ndarray], what: str) -> Iterator[Shares]:
    """Of `LAYERS` layers, the first and the last among them."""
    names = list(by_layer)
    for index in sorted({round(place) for place in np.linspace(0, len(names) - 1, LAYERS)} if names else ()):
        shares = by_layer[names[index]]
        low, high = (100 * float(value) / STEPS for value in (shares.min(), shares.max()))
        words = f"{names[index]}: which share {what}; from {low:.0f} to {high:.0f} %"
        yield Shares(names[index], picture(thinned(shares)), words)


def picture(shares: np.ndarray) -> str:
    """Return a PNG of shares, uint8 (rows, columns) of 0 to 255, as a data URL: a pixel each."""
    from PIL import Image

    low, high = np.array(NOTHING, float), np.array(ALL, float)
    colours = low + (high - low) * (shares[..., None] / STEPS)
    buffer = BytesIO()
    Image.fromarray(colours.round().astype(np.uint8)).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def thinned(shares: np.ndarray, rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """Return `shares` (rows, columns) with neighbours averaged where there are more of them than there is room for."""
    for axis, most in enumerate((rows, columns)):
        if shares.shape[axis] > most:
            starts = np.linspace(0, shares.shape[axis], most, endpoint=False).astype(int)
            counts = np.diff([*starts, shares.shape[axis]])
            sums = np.add.reduceat(shares.astype(float), starts, axis=axis)
            shares = sums / (counts[:, None] if axis == 0 else counts)
    return np.asarray(shares).round().astype(np.uint8)
