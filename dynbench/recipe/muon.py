"""Muon (Jordan et al., 2024, kellerjordan.github.io/posts/muon) for convolutions, beside SGD for everything else.

torch.optim.Muon takes matrices only, and iterates in bf16, of which a CPU has more rounding than speed. This one takes
convolution weights (outputs, inputs, height, width) as matrices (outputs, the rest), in the weights' own precision, and
orthogonalises all weights of one shape in one batched product.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.sgd import sgd

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration, as published: the steepest at zero."""
TINY = 1e-7


def orthogonalised(matrices: Tensor, steps: int) -> Tensor:
    """Return the nearest (semi-)orthogonal matrix of each of `matrices` (count, rows, columns), roughly.

    `steps` Newton-Schulz iterations. Raises ValueError for other shapes.
    """
    if matrices.ndim != 3:  # noqa: PLR2004
        raise ValueError(f"matrices (count, rows, columns) are expected, got {tuple(matrices.shape)}")
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + TINY)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return cast("Tensor", x.mT if tall else x)


class MuonWithSgd(Optimizer):
    """SGD with Nesterov momentum, with orthogonal steps for some groups of weights.

    These are groups with `muon: True`: the step of such a weight, momentum and gradient together as a matrix (outputs,
    the rest), is made orthogonal first, and its length is the group's `lr` alone. With `unit_norm` such a weight is
    scaled to the L2 norm sqrt(outputs) before: behind a BN its norm changes nothing but how much a step turns it.

    State: a momentum buffer a parameter, as SGD's.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        momentum: float,
        nesterov: bool,
        weight_decay: float,
        ns_steps: int = 5,
        unit_norm: bool = True,
    ) -> None:
        """`lr`, `momentum`, `nesterov` and `weight_decay` are the defaults of every group.

        Orthogonal steps have no weight decay.
        """
        defaults = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay, "muon": False}
        super().__init__(list(groups), defaults)
        self._ns_steps, self._unit_norm = ns_steps, unit_norm

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make one step of all groups. Raises ValueError for a closure, which nobody here needs."""
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            (self._orthogonal_step if group["muon"] else self._plain_step)(parameters, group)
        return None

    def _plain_step(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        gradients = [_gradient(parameter) for parameter in parameters]
        buffers = [self.state[parameter].get("momentum_buffer") for parameter in parameters]
        sgd(
            cast("list[Tensor]", parameters),
            gradients,
            buffers,
            foreach=True,
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=0,
            nesterov=group["nesterov"],
            maximize=False,
        )
        for parameter, buffer in zip(parameters, buffers, strict=True):
            self.state[parameter]["momentum_buffer"] = buffer

    def _orthogonal_step(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        shapes: defaultdict[tuple[int, int], list[nn.Parameter]] = defaultdict(list)
        for parameter in parameters:
            shapes[len(parameter), parameter.numel() // len(parameter)].append(parameter)
        for shape, alike in shapes.items():
            directions = torch.stack([self._direction(one, group).reshape(shape) for one in alike])
            for parameter, step in zip(alike, orthogonalised(directions, self._ns_steps), strict=True):
                if self._unit_norm:
                    parameter.mul_(len(parameter) ** 0.5 / (parameter.norm() + TINY))
                parameter.sub_(step.reshape(parameter.shape), alpha=group["lr"])

    def _direction(self, parameter: nn.Parameter, group: dict[str, Any]) -> Tensor:
        """Momentum with the gradient, as SGD's."""
        state, gradient = self.state[parameter], _gradient(parameter)
        buffer: Tensor = state.setdefault("momentum_buffer", torch.zeros_like(gradient))
        buffer.mul_(group["momentum"]).add_(gradient)
        return gradient.add(buffer, alpha=group["momentum"]) if group["nesterov"] else buffer


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


# torch wraps the `step` of an optimizer's class when the first one is made. It is wrapped here, before the class is
# sealed: what changes later is taken for a plugin's work.
MuonWithSgd.step = Optimizer.profile_hook_step(MuonWithSgd.step)  # type: ignore[method-assign]
MuonWithSgd.step.hooked = True  # type: ignore[attr-defined]
