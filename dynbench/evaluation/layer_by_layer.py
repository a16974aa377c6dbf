"""Which layers an executor ran, where its parts say which layers they are."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from torch import Tensor, nn

from dynbench.counter.dispatch import counted_by_module
from dynbench.executors import module_by_module


@dataclass(frozen=True)
class LayersRan:
    """MACs of `layers` that parts of an executor name together: executed, and accounted."""

    layers: tuple[str, ...]
    executed: int
    accounted: int

    @property
    def words(self) -> str:
        """What an error says of them, after what was found."""
        return f"; layer {' and '.join(self.layers)}: {self.executed} executed, {self.accounted} accounted"


def layer_by_layer(
    executor: nn.Module, model: nn.Module, image: Tensor, accounted: Mapping[str, int]
) -> list[LayersRan]:
    """Run `executor` on one image (1, channels, height, width), and return what ran of its layers.

    Of the layers that its parts name, in `layers` or by being modules of `model`. `accounted` are MACs of all layers by
    name.

    Parts that name the same layers count together. A layer that did not run where the model has it, and that another
    part names with others, ran there.
    """
    with module_by_module():
        work, _ = counted_by_module(executor, image)
    executed: dict[tuple[str, ...], int] = {}
    for name, layers in _named_parts(executor, model, accounted.keys()):
        below = sum(own for part, own in work.by_module.items() if f"{part}.".startswith(f"{name}."))
        executed[layers] = executed.get(layers, 0) + below
    ran = [set(layers) for layers, own in executed.items() if own]
    return [
        LayersRan(layers, own, sum(accounted.get(layer, 0) for layer in layers))
        for layers, own in executed.items()
        if own or not any(set(layers) < others for others in ran)
    ]


def _named_parts(executor: nn.Module, model: nn.Module, known: Set[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Names of the executor's parts, and of the layers that each of them is.

    What stands in a part that is the same layers is that part's.
    """
    names = {module: (name,) for name, module in model.named_modules() if name in known}
    found: dict[str, tuple[str, ...]] = {}
    for name, module in executor.named_modules():
        layers = tuple(getattr(module, "layers", ()) or names.get(module, ()))
        around = (other for other, its in found.items() if its == layers)
        if layers and not any(f"{name}.".startswith(f"{other}.") for other in around):
            found[name] = layers
            yield name, layers
