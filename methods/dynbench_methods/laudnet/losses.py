"""How LAUDNet is trained: towards a cost, and towards the dense net that it starts from."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from dynbench.method import Progress, Recipe
from dynbench_methods.laudnet.config import LaudNetConfig
from dynbench_methods.laudnet.net import Chosen, LaudNet


def temperature_at(config: LaudNetConfig, fraction: float) -> float:
    """Return the gates' temperature after a `fraction` of the training; it falls exponentially."""
    return float(config.tau_first * (config.tau_last / config.tau_first) ** fraction)


def bounds_at(config: LaudNetConfig, progress: Progress) -> tuple[float, float]:
    """Return between which shares of its MACs a block is left alone in this epoch.

    At first at the target only, and after `bounds` of the epochs anywhere. By whole epochs, as in the published code.
    """
    span = config.bounds * progress.epochs
    done = min(1.0, progress.epoch / span) if span else 1.0
    held = math.cos(math.pi / 2 * done) ** 2
    return held * config.target, 1 - held * (1 - config.target)


def block_costs(net: LaudNet, chosen: Sequence[Chosen]) -> tuple[Tensor, Tensor]:
    """Return the cost of the whole net, and that of each block.

    The first as a share of the dense backbone's, a mean over images; the second (blocks,) as shares of the blocks' own.
    Masker and shortcut are in both.
    """
    device = net.backbone.linear.weight.device
    fixed = float(sum(net.macs.values()))
    spent, shares = [], []
    for index, parts in net.parts(chosen):
        branch = sum(net.macs[part.layer] for part in parts)
        whole = _under(net, f"{parts[0].layer.rpartition('.')[0]}.") + _under(net, f"maskers.{index}.")
        ran = torch.as_tensor(sum(net.macs[part.layer] * _mean(part.share()) for part in parts), device=device)
        fixed -= branch
        spent.append(ran)
        shares.append((whole - branch + ran) / whole)
    return (fixed + torch.stack(spent).sum()) / _under(net, "backbone."), torch.stack(shares)


def _under(net: LaudNet, prefix: str) -> int:
    return sum(macs for name, macs in net.macs.items() if name.startswith(prefix))


def _mean(share: Tensor | float) -> Tensor | float:
    return share.mean() if isinstance(share, Tensor) else share


def cost_loss(net: LaudNet, chosen: Sequence[Chosen], config: LaudNetConfig, progress: Progress) -> Tensor:
    """Return the squared distance from the target, and how far blocks are beyond their bounds.

    The latter is squared too, and a mean over blocks.
    """
    total, shares = block_costs(net, chosen)
    lower, upper = bounds_at(config, progress)
    beyond = (shares - upper).relu().square() + (lower - shares).relu().square()
    return (total - config.target).square() + beyond.mean()


def laudnet_loss(
    config: LaudNetConfig, net: LaudNet, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe
) -> Tensor:
    """Return the training loss of images x (batch, channels, h, w) with labels y (batch,)."""
    logits, chosen = net.run(x, temperature_at(config, progress.fraction))
    loss = cross_entropy(logits, y, label_smoothing=recipe.label_smoothing)
    loss = loss + config.cost_weight * cost_loss(net, chosen, config, progress)
    if net.teacher is None:
        return loss
    with torch.no_grad():
        taught = net.teacher(x)
    return loss + config.distillation * distance(logits, taught, config.temperature)


def distance(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Return the divergence of softened answers (batch, classes), `T^2 KL(teacher || student)`, a mean over images."""
    student = (logits.float() / temperature).log_softmax(1)
    teacher = (taught.float() / temperature).log_softmax(1)
    return temperature**2 * kl_div(student, teacher, reduction="batchmean", log_target=True)
