"""The Pareto front: what nothing else beats in accuracy at the same or a lower cost."""

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def pareto_front(items: Iterable[T], cost: Callable[[T], float], gain: Callable[[T], float]) -> tuple[T, ...]:
    """The items that no other dominates, by rising cost: none is at most as dear and at least as good, and one of
    the two strictly. Of equal items the first is kept."""
    front: list[T] = []
    for item in sorted(items, key=lambda item: (cost(item), -gain(item))):
        if not front or gain(item) > gain(front[-1]):
            front.append(item)
    return tuple(front)
