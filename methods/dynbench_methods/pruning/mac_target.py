"""How many filters to remove from which layer so that the net left costs a given number of MACs."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction

from dynbench.method import Backbone, LayerCost, inner_convs, static_costs

Removed = Mapping[str, int]
"""Filters to remove, by the layer's name."""


class PrunedMacs:
    """MACs of one image through a backbone less some filters: exact, without building that net."""

    def __init__(self, backbone: Backbone) -> None:
        self.filters = {layer.name: layer.filters for layer in inner_convs(backbone)}
        modules = {module: name for name, module in backbone.named_modules()}
        self._reads = {modules[layer.reader]: layer.name for layer in inner_convs(backbone)}
        self._reads |= {depthwise: layer.name for layer in inner_convs(backbone) for depthwise in layer.between}
        self._costs = static_costs(backbone, backbone.input_shape)
        self.dense = sum(cost.macs for cost in self._costs)

    def __call__(self, removed: Removed) -> int:
        return sum(self._layer(cost, removed) for cost in self._costs)

    def _layer(self, cost: LayerCost, removed: Removed) -> int:
        """Of a layer's MACs, those of the output channels and of the input channels that are left: whole numbers."""
        read = self._reads.get(cost.name, "")
        whole, left = 1, 1
        for layer in (cost.name, read):
            filters = self.filters.get(layer, 1)
            whole, left = whole * filters, left * (filters - removed.get(layer, 0))
        return cost.macs * left // whole

    def least(self, layers: Iterable[str]) -> int:
        """Return the MACs with one filter left in each of `layers`."""
        return self({layer: self.filters[layer] - 1 for layer in layers})


def uniform_order(filters: Mapping[str, int]) -> list[str]:
    """Return in which order to remove filters, one at a time.

    Every layer has lost the same share at any time, or one filter more; of equals, the earlier layer first. Names a
    layer once for each of its `filters` but the last one.
    """
    steps = [
        (Fraction(removed, count), position, layer)
        for position, (layer, count) in enumerate(filters.items())
        for removed in range(1, count)
    ]
    return [layer for _, _, layer in sorted(steps)]


def nearest_removal(order: Iterable[str], macs: Callable[[Removed], int], target: float) -> Counter[str]:
    """Return filters to remove, taken in `order`, for MACs nearest to `target`.

    A layer whose next filter would save more than is left to save is done with, and cheaper ones are taken: the result
    is within one filter of the cheapest layer, and one more is removed where that is nearer.
    """
    removed: Counter[str] = Counter()
    done: list[str] = []
    for layer in order:
        if layer in done:
            continue
        more = removed + Counter([layer])
        if macs(more) >= target:
            removed = more
        else:
            done.append(layer)
    candidates = [removed, *(removed + Counter([layer]) for layer in done)]
    return min(candidates, key=lambda candidate: abs(macs(candidate) - target))
