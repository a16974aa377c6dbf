"""What was executed: MACs by module and operator, element-wise products, and what could not be counted."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import Any, cast

import torch
from torch import Size

from dynbench.counter.formulas import FORMULAS, UncountableError
from dynbench.counter.operators import LOGICAL, UNSCALED, Kind, kind_of


@dataclass
class Work:
    """`by_layer`: MACs by the module that ran and the operator, as `("layer1.0.conv1", "aten::convolution")`.

    The module's name is empty where none of those that are watched ran. `refused`: operators that may not run, each
    with the reason, in the order in which they came.
    """

    by_layer: Counter[tuple[str, str]] = field(default_factory=Counter)
    products: int = 0
    refused: list[str] = field(default_factory=list)

    @property
    def macs(self) -> int:
        return sum(self.by_layer.values())

    @property
    def by_module(self) -> Counter[str]:
        """MACs of each module alone, without those of the modules in it."""
        return _summed((module, macs) for (module, _), macs in self.by_layer.items())

    @property
    def by_operator(self) -> Counter[str]:
        return _summed((operator, macs) for (_, operator), macs in self.by_layer.items())

    def refuse(self, operator: str, reason: str = "") -> None:
        """Note that `operator` may not run."""
        said = f"{operator} ({reason})" if reason else operator
        if said not in self.refused:
            self.refused.append(said)

    def add(self, name: str, given: Mapping[str, Any], out: Sequence[Size], module: str = "") -> Kind:
        """Book one call of the operator `name`, such as `aten::addmm`, and return what it counts as.

        Arguments are given by name, with tensors as `Size`, and so are the sizes of its results. Calls inside it are
        booked by the code that sees them.
        """
        kind = kind_of(name)
        if kind == "counted":
            try:
                self.by_layer[module, name.partition(".")[0]] += _macs(name, given, out)
            except UncountableError as error:
                self.refuse(name, str(error))
        elif kind == "product":
            self.products += _products(_short(name), given, out)
        elif kind == "unknown":
            self.refuse(name)
        return kind


def _summed(parts: Iterable[tuple[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for name, macs in parts:
        total[name] += macs
    return total


def _short(name: str) -> str:
    return name.partition("::")[2].partition(".")[0].removesuffix("_")


def _macs(name: str, given: Mapping[str, Any], out: Sequence[Size]) -> int:
    first = out[0] if out else Size()
    if name.startswith("aten::"):
        return int(FORMULAS[_short(name)](given, first))
    return _registered(name.partition(".")[0])(*given.values(), out_val=first) // 2


@cache
def _registered(packet: str) -> Callable[..., int]:
    """A formula for FLOPs that a plugin registered with torch."""
    from torch.utils.flop_counter import flop_registry

    space, _, operator = packet.partition("::")
    formula = flop_registry[getattr(getattr(torch.ops, space), operator)]
    wrapped = getattr(formula, "__wrapped__", None)
    if space != "dynbench" or wrapped is None:
        return cast("Callable[..., int]", formula)
    # The wrapper looks for tensors in nested containers, which takes longer than a small convolution.
    return lambda *sizes, out_val: int(wrapped(*sizes, out_shape=out_val))


def _products(operator: str, given: Mapping[str, Any], out: Sequence[Size]) -> int:
    """One for each element of the largest tensor; of a loss, for each pair."""
    if operator in UNSCALED and given.get("alpha", 1) in {1, None}:
        return 0
    sizes = [value for value in given.values() if isinstance(value, Size)]
    if operator in LOGICAL and given.get(TRUTH):
        return 0
    if "target" in given and isinstance(given["target"], Size):
        sizes.append(_paired(given["self"], given["target"]))
    return max(map(prod, [*sizes, *out]), default=0)


def _paired(values: Size, target: Size) -> Size:
    """Each value with its target; where targets are numbers of classes, the values."""
    try:
        return cast("Size", torch.broadcast_shapes(values, target))  # type: ignore[no-untyped-call]
    except RuntimeError:
        return values


TRUTH = "all are truth values"
"""Name under which a call says that its tensors hold truth values."""
