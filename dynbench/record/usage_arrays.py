"""What of each layer ran on the test images, as arrays beside a record.

Which images were expensive and where, which channels a class wants, where in the image work was spent.

For drawing: shares are rounded to 1/255, so that nothing and all are exact. MACs are not counted from these.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

STEPS = 255
WHOLE = -1
"""In place of a column: the layer ran whole on every image."""


@dataclass(frozen=True)
class PointUsage:
    """One operating point on n test images, in the split's order.

    `column` int16 (layers,): of each layer, in the order of the record's, the column of `shares`, uint8 (n, columns),
    that says which share of its MACs ran, or `WHOLE`; layers of equal shares have one column together. `activation`, by
    the name of a layer whose channels are gated, uint8 (classes, channels): the share of the images of a class that ran
    the channel. `positions`, by the layer's name, uint8 (h, w): the share of all images that ran the position.
    """

    column: np.ndarray
    shares: np.ndarray
    activation: Mapping[str, np.ndarray] = field(default_factory=dict)
    positions: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(
        cls, by_layer: np.ndarray, activation: Mapping[str, np.ndarray], positions: Mapping[str, np.ndarray]
    ) -> "PointUsage":
        """Make the usage of one operating point from shares and fractions.

        Shares `by_layer`, uint8 (n, layers), and fractions in [0, 1] as `activation` and `positions` have them.
        """
        gated = (by_layer < STEPS).any(axis=0)
        column = np.full(by_layer.shape[1], WHOLE, np.int16)
        shares, found = np.unique(by_layer[:, gated], axis=1, return_inverse=True)
        column[gated] = found.ravel()
        return cls(column, np.ascontiguousarray(shares), _rounded(activation), _rounded(positions))

    def of_layer(self, layer: int) -> np.ndarray:
        """Return which share of a layer, by its number in the record, ran for each image, float64 (n,)."""
        column = int(self.column[layer])
        return np.ones(len(self.shares)) if column == WHOLE else self.shares[:, column] / STEPS

    def arrays(self, point: str) -> dict[str, np.ndarray]:
        """Return the arrays by their names in the file; none where every layer ran whole on every image."""
        if not self.shares.shape[1]:
            return {}
        return {
            f"{point}/usage": self.shares,
            f"{point}/usage_column": self.column,
            **{f"{point}/activation/{layer}": array for layer, array in self.activation.items()},
            **{f"{point}/positions/{layer}": array for layer, array in self.positions.items()},
        }


def point_usage(arrays: Mapping[str, np.ndarray], point: str) -> PointUsage | None:
    """Return what a record's arrays say of a point.

    None where they say nothing: the net is static, or the record is older than this.
    """
    if f"{point}/usage" not in arrays:
        return None
    below = (_below(arrays, f"{point}/{part}/") for part in ("activation", "positions"))
    return PointUsage(arrays[f"{point}/usage_column"], arrays[f"{point}/usage"], *below)


def _below(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _rounded(fractions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: (STEPS * array).round().astype(np.uint8) for name, array in fractions.items()}
