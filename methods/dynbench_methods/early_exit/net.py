"""A backbone with classifiers between its blocks, and what each image ran of it at an operating point."""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Self, cast

import torch
from torch import Tensor, nn

from dynbench.method import Backbone, LayerUsage, ResidualBlock, dense_macs, evaluating, static_costs
from dynbench_methods.early_exit.config import EarlyExitConfig
from dynbench_methods.early_exit.heads import Size, make_head
from dynbench_methods.early_exit.rules import Policy, entropy_of, uncertainty


class ExitNet(nn.Module):
    """`places`: after how many blocks each exit stands.

    Of each exit and operating point, `thresholds` (points, exits) says below which score an image leaves; `costs`
    (exits + 1,) is what it has paid by then, all heads that it reached included, as a share of the dense backbone.
    """

    thresholds: Tensor
    costs: Tensor

    def __init__(self, backbone: Backbone, config: EarlyExitConfig) -> None:
        super().__init__()
        self.backbone, self.rule = backbone, config.chosen.rule
        self.keeps_surest, self.frozen = config.preset == "sdn", False
        self.places = exit_places(backbone, config)
        sizes, kind, classes = feature_sizes(backbone), config.head or config.chosen.head, backbone.num_classes
        self.heads = nn.ModuleList(
            make_head(kind, sizes[place], classes, config.head_channels, index == 0)
            for index, place in enumerate(self.places)
        )
        points = len(config.point_names)
        policies = len(self.places) if self.rule == "policy" else 0
        self.policies = nn.ModuleList(Policy(points) for _ in range(policies))
        self.layers = self._layers()
        """Names of the layers between two exits, the rest of the net last; and of each exit's own, none last."""
        self.register_buffer("thresholds", torch.full((points, len(self.places)), -math.inf))
        self.register_buffer("costs", self._costs())

    @torch.no_grad()
    def _costs(self) -> Tensor:
        macs = {layer.name: layer.macs for layer in static_costs(self, self.backbone.input_shape)}
        parts = [sum(macs.get(layer, 0) for layer in (*part, *head)) for part, head in zip(*self.layers, strict=True)]
        stem = sum(macs.values()) - sum(parts)
        paid = torch.tensor([stem + one for one in accumulate(parts)], dtype=torch.float64)
        return (paid / dense_macs(self.backbone)).float()

    def _layers(self) -> tuple[list[list[str]], list[list[str]]]:
        names = [name for name, _ in self.backbone.named_blocks()]
        ends = [f"backbone.{name}" for name in (self.backbone.last_conv, self.backbone.linear_name) if name]
        parts = [[f"backbone.{name}" for name in names[a:b]] for a, b in pairwise((0, *self.places, len(names)))]
        modules = [name for name, module in self.named_modules() if isinstance(module, nn.Conv2d | nn.Linear | Policy)]
        trunk = [[one for one in modules if one.startswith(tuple(f"{name}." for name in part))] for part in parts]
        own = [(f"heads.{index}.", f"policies.{index}") for index in range(len(self.heads))]
        heads = [[one for one in modules if one.startswith(f"{prefix}") or one == policy] for prefix, policy in own]
        return [*trunk[:-1], trunk[-1] + ends], [*heads, []]

    def train(self, mode: bool = True) -> Self:
        """Set the mode, but keep a frozen trunk in evaluation mode: the statistics of its BN must not move."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def exits(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Map images (batch, channels, height, width) to logits (batch, classes) of each exit.

        Also returns the features of the last block before the last exit. A frozen trunk gets no gradients.
        """
        blocks, found = self._blocks(), []
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            x = self.backbone.stem(x)
        for head, (start, end) in zip(self.heads, pairwise((0, *self.places)), strict=True):
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
                x = _through(blocks[start:end], x)
            found.append(head(x))
        return found, x

    def run(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return images -> logits of each exit, and of the whole net."""
        found, x = self.exits(x)
        return found, self.backbone.head(_through(self._blocks()[self.places[-1] :], x))

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor, list[Tensor]]:
        """Return the same, and what every policy says: (batch, points) of each exit."""
        found, final = self.run(x)
        return found, final, [policy(logits) for policy, logits in zip(self.policies, found, strict=False)]

    def _blocks(self) -> list[ResidualBlock]:
        return [block for _, block in self.backbone.named_blocks()]

    def score(self, index: int, logits: Tensor, point: int) -> Tensor:
        """Return what decides at exit `index`, of its logits (batch, classes): (batch,)."""
        if self.rule == "policy":
            return cast("Tensor", self.policies[index](logits)[:, point])
        return score_of(self.rule, logits)

    def decided(self, found: Sequence[Tensor], final: Tensor, point: int) -> tuple[Tensor, list[Tensor]]:
        """Return what operating point number `point` answers, and which images reached each exit.

        Answers are (batch, classes), of everything computed. Which images reached each exit, and last the end, is bool
        (batch,).
        """
        here = torch.ones(len(final), dtype=torch.bool, device=final.device)
        answer, reached = surest([*found, final]) if self.keeps_surest else final, [here]
        for index, logits in enumerate(found):
            leaves = here & (self.score(index, logits, point) < self.thresholds[point, index])
            answer = torch.where(leaves[:, None], logits, answer)
            here = here & ~leaves
            reached.append(here)
        return answer, reached

    def usage(self, reached: Sequence[Tensor]) -> dict[str, LayerUsage]:
        """Return what ran: up to an exit everything of those that reached it, the exit's own layers among it."""
        usage = {}
        for part, head, here in zip(*self.layers, reached, strict=True):
            usage.update({layer: LayerUsage(positions=here) for layer in (*part, *head)})
        for index, policy in enumerate(cast("Iterable[Policy]", self.policies)):
            share = reached[index].double() / len(policy.bias)  # one point's row of it
            usage[f"policies.{index}"] = LayerUsage(positions=share)
        return usage


def score_of(rule: str, logits: Tensor) -> Tensor:
    """Return the score of a rule that needs nothing but logits (batch, classes): (batch,)."""
    if rule == "entropy":
        return entropy_of(logits)
    return -logits.amax(1) if rule == "margin" else uncertainty(logits)


def surest(logits: Sequence[Tensor]) -> Tensor:
    """Return the logits of the most confident of several classifiers, image by image.

    Each classifier's logits are (batch, classes). Of classifiers that are equally confident, the earliest.
    """
    together = torch.stack(list(logits))
    best = uncertainty(together).argmin(0)
    return together[best, torch.arange(len(best), device=best.device)]


def _through(blocks: Sequence[nn.Module], x: Tensor) -> Tensor:
    for block in blocks:
        x = block(x)
    return x


def feature_sizes(backbone: Backbone) -> list[Size]:
    """Return sizes of the features behind the stem, and behind each block."""
    device = next(backbone.parameters()).device
    with evaluating(backbone):
        x = backbone.stem(torch.zeros(1, *backbone.input_shape, device=device))
        sizes = [cast("Size", tuple(x.shape[1:]))]
        for _, block in backbone.named_blocks():
            x = block(x)
            sizes.append(cast("Size", tuple(x.shape[1:])))
    return sizes


def exit_places(backbone: Backbone, config: EarlyExitConfig) -> tuple[int, ...]:
    """Return after how many blocks the exits stand, rising, each place once.

    None stands behind the last block, where the backbone's own classifier is.
    """
    names = [name for name, _ in backbone.named_blocks()]
    stages = [backbone.stage_of(name) for name in names]
    ends = [index + 1 for index, (one, other) in enumerate(pairwise(stages)) if one != other]
    if config.head == "published":
        return (0, ends[0])
    wanted = config.exits or config.chosen.exits
    if wanted is None:
        return tuple(ends)
    costs = static_costs(backbone, backbone.input_shape)
    whole = sum(layer.macs for layer in costs)
    spent = [sum(layer.macs for layer in costs if layer.name.startswith(f"{name}.")) / whole for name in names]
    stem = sum(layer.macs for layer in costs if layer.name == backbone.stem_conv) / whole
    after = list(accumulate(spent, initial=stem))[:-1]
    return tuple(sorted({min(range(len(after)), key=lambda place: abs(after[place] - share)) for share in wanted}))
