"""When an image leaves: where the score of an exit is below a threshold. A sure image has a low score."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

FEATURES = 3
"""That a policy looks at: -log p, the lead of the best class over the second, the entropy."""
STEPS, RIDGE = 25, 1e-3
"""Of Newton's method for a policy, and what keeps it from running off where classes can be told apart."""


def uncertainty(logits: Tensor) -> Tensor:
    """Return -log of the largest softmax probability of logits (..., classes): (...).

    It tells images apart whose p would be 1 in fp32.
    """
    others = (logits - logits.amax(-1, keepdim=True)).sort(-1, descending=True).values[..., 1:]
    return others.exp().sum(-1).log1p()


def entropy_of(logits: Tensor) -> Tensor:
    """Entropy of the softmax of logits (..., classes), in nats: (...)."""
    log_p = logits.log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1)


def features(logits: Tensor) -> Tensor:
    """Return what a policy is given of logits (batch, classes): (batch, FEATURES)."""
    first, second = logits.softmax(1).topk(2, 1).values.unbind(1)
    return torch.stack([uncertainty(logits), first - second, entropy_of(logits)], 1)


class Policy(nn.Module):
    """One linear function of an exit's own output for each operating point: above 0, the image stays.

    It is fitted, not trained, so its weights (points, FEATURES) are buffers.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, points: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(points, FEATURES))
        self.register_buffer("bias", torch.ones(points))

    def forward(self, logits: Tensor) -> Tensor:
        """Logits (batch, classes) -> (batch, points)."""
        return linear(features(logits), self.weight, self.bias)

    def at(self, point: int) -> "Policy":
        """That of one operating point alone."""
        one = Policy(1).to(self.weight)
        one.weight, one.bias = self.weight[point : point + 1].clone(), self.bias[point : point + 1].clone()
        return one


def midpoint(ordered: Tensor, count: int) -> float:
    """Return a threshold that the first `count` of rising scores (n,) are below.

    Half-way between two of them, so that rounding moves no image across.
    """
    if count == 0:
        return -math.inf
    if count == len(ordered):
        return math.inf
    return float((ordered[count - 1].double() + ordered[count].double()) / 2)


def quantile_thresholds(scores: Sequence[Tensor], q: float) -> list[float]:
    """Find the thresholds of MSDNet's budgeted batch.

    Of n images, a share proportional to q^k is to leave at exit k = 1, 2, ..., the surest first, of those that are
    still there.
    """
    weights = [q**k for k in range(1, len(scores) + 2)]
    images = len(scores[0])
    here, found = torch.ones(images, dtype=torch.bool, device=scores[0].device), []
    for score, weight in zip(scores, weights, strict=False):
        rest = score[here].sort().values
        found.append(midpoint(rest, min(len(rest), math.floor(images * weight / sum(weights)))))
        here &= score >= found[-1]
    return found


def fitted_policy(x: Tensor, stays: Tensor, weight: Tensor) -> tuple[Tensor, float]:
    """Fit a weighted logistic regression of `stays`, bool (n,), on features x (n, features).

    By Newton's method with a little ridge. Returns the weights (features,) and the bias; a constant where all of
    `stays` are of one kind.
    """
    weight = weight.double() / weight.double().sum().clamp(min=1e-12)
    x, y = x.double(), stays.double()
    share = float((weight * y).sum())
    if share < 1e-6 or share > 1 - 1e-6:  # noqa: PLR2004  (nobody, everybody)
        return x.new_zeros(x.shape[1]), 1.0 if share > 0.5 else -1.0  # noqa: PLR2004
    centre, scale = x.mean(0), x.std(0).clamp(min=1e-6)
    design = torch.cat([(x - centre) / scale, x.new_ones(len(x), 1)], 1)
    ridge = RIDGE * torch.eye(design.shape[1], dtype=x.dtype, device=x.device)
    beta = x.new_zeros(design.shape[1])
    for _ in range(STEPS):
        p = (design * beta).sum(1).sigmoid()
        gradient = ((weight * (p - y))[:, None] * design).sum(0) + RIDGE * beta
        curvature = design.T @ ((weight * p * (1 - p))[:, None] * design) + ridge
        beta = beta - torch.linalg.solve(curvature, gradient)
    slope = beta[:-1] / scale
    return slope, float(beta[-1] - (slope * centre).sum())


def fitted_policies(
    logits: Sequence[Tensor], final: Tensor, labels: Tensor, costs: Sequence[float], price: float
) -> list[tuple[Tensor, float]]:
    """Bolukbasi et al.'s reduction, the last decision first.

    With later policies fixed, an image would end at exit j; it is to stay at exit k where `e_j + price * c_j < e_k +
    price * c_k`, weighted by how much that saves. e: wrong or not; `costs`: c of each exit and last of the whole net.
    `logits` (n, classes) of each exit, `final` of the whole net.
    """
    wrong = [(one.argmax(1) != labels).double() for one in (*logits, final)]
    spent = [one + price * cost for one, cost in zip(wrong, costs, strict=True)]
    later, found = spent[-1], []
    for one, here in reversed(list(zip(logits, spent[:-1], strict=True))):
        gain = later - here
        seen = features(one)
        slope, bias = fitted_policy(seen, gain < 0, gain.abs())
        stays = (seen.double() * slope).sum(1) + bias > 0
        later = torch.where(stays, later, here)
        found.append((slope, bias))
    return found[::-1]
