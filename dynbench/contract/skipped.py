"""Weights that were skipped become NaN before the executor is made, and nothing may change.

A mask says which channels it leaves out. Of a fraction only the executor knows: they are found one by one, in the
narrowest layer that ran in part, since each look makes an executor.
"""

from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from dynbench.cost import active_share
from dynbench.evaluation.trained import Trained
from dynbench.method import LayerUsage, Point

Weights = tuple[str, tuple[slice | Tensor, ...]]
"""A layer and which of its weights (outputs, inputs, ...)."""


class ReadsSkipped(Exception):  # noqa: N818  (named for what happens)
    """More weights are read than usage says."""


@dataclass(frozen=True)
class Probe:
    """One operating point of a model in evaluation mode."""

    trained: Trained
    point: Point

    def logits(self, image: Tensor, poisoned: Iterable[Weights] = ()) -> Tensor:
        """Return the executor's, made of a model with NaN in place of some weights."""
        model = deepcopy(self.trained.model)
        for layer, index in poisoned:
            _weight(model, layer).data[index] = float("nan")
        executor = replace(self.trained, model=model).executor(self.point)
        assert executor is not None
        logits: Tensor = executor(image)
        return logits

    def usage(self, image: Tensor) -> dict[str, LayerUsage]:
        """Return the usage of one image (1, channels, height, width)."""
        (output,) = self.trained.infer(image, [self.point])
        return dict(output.usage)

    def skipped(self, image: Tensor) -> list[Weights]:
        """Return what this image (1, channels, h, w) leaves out.

        Layers whole, channels that a mask names, and those of the narrowest layer with fractions. Raises ReadsSkipped
        when fewer channels are left out than these say.
        """
        usage = self.usage(image)
        found: list[Weights] = [(layer, (slice(None),)) for layer, used in usage.items() if _share(used) == 0]
        parts = {layer: used for layer, used in usage.items() if _share(used) > 0 and 0 < _channels(used) < 1}
        found += [one for layer, used in parts.items() for one in _masked(layer, used)]
        unnamed = sorted((layer for layer, used in parts.items() if _has_fractions(used)), key=self._size)
        before = self.logits(image)
        for layer in unnamed[:1]:
            found += self._channels_of(layer, usage[layer], image, before)
        return found

    def problem(self, image: Tensor) -> str | None:
        """Return what is wrong on this image, in words."""
        try:
            skipped = self.skipped(image)
        except ReadsSkipped as error:
            return str(error)
        before = self.logits(image)
        if torch.equal(self.logits(image, skipped), before):
            return None
        guilty = [one for one in skipped if not torch.equal(self.logits(image, [one]), before)]
        layer = guilty[0][0] if guilty else skipped[0][0]
        return f"usage says that layer {layer} was skipped, but its weights are read"

    def _size(self, layer: str) -> int:
        return _weight(self.trained.model, layer).numel()

    def _channels_of(self, layer: str, used: LayerUsage, image: Tensor, before: Tensor) -> list[Weights]:
        found: list[Weights] = []
        weight = _weight(self.trained.model, layer)
        for axis, (kind, part) in enumerate((("output", used.outputs), ("input", used.inputs))):
            share, count = _value(part), weight.shape[axis]
            places = [(slice(None),) * axis + (torch.tensor([channel]),) for channel in range(count)]
            unread = [(layer, at) for at in places if share < 1 and self._unread(layer, at, image, before)]
            claimed = round((1 - share) * count)
            if len(unread) < claimed:
                raise ReadsSkipped(
                    f"usage leaves out {claimed} of {count} {kind} channels of layer {layer}, and only {len(unread)} "
                    "are not read"
                )
            found += unread
        return found

    def _unread(self, layer: str, at: tuple[slice | Tensor, ...], image: Tensor, before: Tensor) -> bool:
        return torch.equal(self.logits(image, [(layer, at)]), before)


def _weight(model: nn.Module, layer: str) -> Tensor:
    """A parameter, or a buffer where it is set and not trained."""
    return cast("Tensor", model.get_submodule(layer).weight)


def _masked(layer: str, used: LayerUsage) -> Iterator[Weights]:
    """The channels that the masks of one image leave out, outputs first, as weights have them."""
    for axis, part in enumerate((used.outputs, used.inputs)):
        if part is not None and part.ndim > 1:
            yield layer, (slice(None),) * axis + ((~part[0]).nonzero()[:, 0],)


def _has_fractions(used: LayerUsage) -> bool:
    return any(part is not None and part.ndim == 1 and float(part) < 1 for part in (used.outputs, used.inputs))


def _value(part: Tensor | None) -> float:
    return 1.0 if part is None else float(active_share(part))


def _channels(used: LayerUsage) -> float:
    return _value(used.outputs) * _value(used.inputs)


def _share(used: LayerUsage) -> float:
    return _channels(used) * _value(used.positions)
