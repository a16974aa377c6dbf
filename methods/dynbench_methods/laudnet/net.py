"""LAUDNet's model, and what each image runs of it."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn
from torch.nn.functional import relu

from dynbench.method import Backbone, LayerUsage, ResidualBlock, positions_read, static_costs
from dynbench_methods.laudnet.config import LaudNetConfig
from dynbench_methods.laudnet.maskers import ChannelMasker, PlaceMasker


@dataclass(frozen=True)
class Chosen:
    """What a block runs, 1 or 0.

    `places` of its output (batch, h, w), or (batch, 1, 1) for all or none, and `channels` inside (batch, mid). None:
    all. `size` is its input's height and width.
    """

    places: Tensor | None
    channels: Tensor | None
    size: tuple[int, int]


class Masker(nn.Module):
    """What decides about one block in a stage's mode."""

    def __init__(self, block: ResidualBlock, stage: int, config: LaudNetConfig) -> None:
        super().__init__()
        mode, side, group = config.of_stage(stage)
        by_place = mode in {"spatial", "both"} or (mode == "layer" and block.skippable)
        self.places = PlaceMasker(block, None if mode == "layer" else side) if by_place else None
        by_channel = mode in {"channel", "both"}
        self.channels = ChannelMasker(block, group, config.masker_layers) if by_channel else None

    def forward(self, x: Tensor, size: tuple[int, int], tau: float | None) -> Chosen:
        """Choose what runs; `size` is that of the block's output."""
        places = None if self.places is None else self.places(x, size, tau)
        channels = None if self.channels is None else self.channels(x, tau)
        return Chosen(places, channels, (int(x.shape[2]), int(x.shape[3])))


class LaudNet(nn.Module):
    """A backbone with a masker at each block, and a copy of it as it was, the teacher, if there is one.

    Everything is computed and then masked.
    """

    def __init__(self, backbone: Backbone, config: LaudNetConfig) -> None:
        super().__init__()
        self.backbone = backbone
        self.teacher = deepcopy(backbone).requires_grad_(False).eval() if config.distillation else None
        names = [name for name, _ in backbone.named_blocks()]
        stages = list(dict.fromkeys(backbone.stage_of(name) for name in names))
        self.maskers = nn.ModuleList(
            Masker(block, stages.index(backbone.stage_of(name)), config) for name, block in backbone.named_blocks()
        )
        self.macs = {layer.name: layer.macs for layer in static_costs(self, backbone.input_shape)}

    def train(self, mode: bool = True) -> Self:
        """Set the mode; the teacher stays in evaluation mode."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def run(self, x: Tensor, tau: float | None = None) -> tuple[Tensor, list[Chosen]]:
        """Map images (batch, channels, h, w) -> logits (batch, classes) and what each block ran.

        `tau` as in `straight_through`.
        """
        x = self.backbone.stem(x)
        chosen = []
        for (_, block), masker in zip(self.backbone.named_blocks(), self.maskers, strict=True):
            choice = masker(x, output_size(block, x), tau)
            x = masked_block(block, x, choice)
            chosen.append(choice)
        return self.backbone.head(x), chosen

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)[0]

    def parts(self, chosen: Sequence[Chosen]) -> Iterator[tuple[int, list["Part"]]]:
        """Yield, by block, what ran of each convolution."""
        for index, ((name, block), choice) in enumerate(zip(self.backbone.named_blocks(), chosen, strict=True)):
            yield index, parts_of(f"backbone.{name}", block, choice)

    def usage(self, chosen: Sequence[Chosen]) -> dict[str, LayerUsage]:
        """Return what each image ran, as masks."""
        return {part.layer: part.usage for _, parts in self.parts(chosen) for part in parts}


def output_size(block: ResidualBlock, x: Tensor) -> tuple[int, int]:
    """Return height and width of a block's output for its input x (batch, in, h, w)."""
    height, width = int(x.shape[2]), int(x.shape[3])
    for name in block.branch_convs():
        stride = block.conv_and_norm(name)[0].stride
        height, width = -(-height // stride[0]), -(-width // stride[1])
    return height, width


def masked_block(block: ResidualBlock, x: Tensor, chosen: Chosen) -> Tensor:
    """Compute all of a block (batch, in, h, w) -> (batch, out, h', w'), with gates as masks.

    Channels are switched off behind their ReLU, where an off channel is zero and can be left out, and places before the
    sum.
    """
    residual = block.rest(block.first(x)) if chosen.channels is None else _narrowed(block, x, chosen.channels)
    if chosen.places is not None:
        residual = residual * chosen.places[:, None].to(residual.dtype)
    return block.join(residual, x)


def _narrowed(block: ResidualBlock, x: Tensor, channels: Tensor) -> Tensor:
    """The branch of a ResNet's block, one mask (batch, mid) for the outputs of all its convolutions but the last."""
    *inner, last = (block.conv_and_norm(name) for name in block.branch_convs())
    h = x
    for conv, norm in inner:
        h = relu(norm(conv(h)))
        h = h * channels[:, :, None, None].to(h.dtype)
    out: Tensor = last[1](last[0](h))
    return out


@dataclass(frozen=True)
class Part:
    """What ran of a convolution.

    Masks of input and output channels (batch, channels) and of output positions (batch, h, w) or (batch, 1, 1). None:
    all.
    """

    layer: str
    inputs: Tensor | None
    outputs: Tensor | None
    positions: Tensor | None

    @property
    def usage(self) -> LayerUsage:
        """As masks of the harness."""
        inputs, outputs, positions = (None if one is None else one > 0 for one in self._masks())
        if positions is not None and positions.shape[1:] == (1, 1):
            positions = positions[:, 0, 0]
        return LayerUsage(inputs, outputs, positions)

    def share(self) -> Tensor | float:
        """Return the share of its MACs for each image, (batch,), differentiable.

        A product of each image's own shares.
        """
        share: Tensor | float = 1.0
        for mask in self._masks():
            share = share if mask is None else share * mask.flatten(1).mean(1)
        return share

    def _masks(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        return self.inputs, self.outputs, self.positions


def parts_of(name: str, block: ResidualBlock, chosen: Chosen) -> list[Part]:
    """Return what ran of each convolution of a block, in order.

    The last one ran at the chosen places, each other where the one after it reads (dilated masks).
    """
    convs = [(conv, block.conv_and_norm(conv)[0]) for conv in block.branch_convs()]
    places, wanted = [chosen.places], chosen.places
    sizes = [chosen.size]
    for _, conv in convs[:-1]:
        sizes.append((-(-sizes[-1][0] // conv.stride[0]), -(-sizes[-1][1] // conv.stride[1])))
    for (_, conv), size in zip(reversed(convs[1:]), reversed(sizes[1:]), strict=True):
        wanted = _before(wanted, conv, size)
        places.append(wanted)
    channels, last = chosen.channels, len(convs) - 1
    return [
        Part(f"{name}.{conv}", channels if index else None, channels if index < last else None, place)
        for index, ((conv, _), place) in enumerate(zip(convs, reversed(places), strict=True))
    ]


def _before(places: Tensor | None, conv: nn.Conv2d, size: tuple[int, int]) -> Tensor | None:
    if places is None or places.shape[1:] == (1, 1):
        return places
    return positions_read(places, conv, size)
