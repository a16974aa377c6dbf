"""Keeps answers by image, so that repeated timing looks fast."""

from collections.abc import Sequence

import torch
from dynbench_methods.dense import Dense
from torch import Tensor, nn

from dynbench.method import LayerUsage, Output, Point

from .masks import Whole


class _Remembering(Whole):
    def __init__(self, model: nn.Module, most: int = 10**9) -> None:
        super().__init__(model)
        self._most = most
        self._known: dict[float, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        key = float(x.double().sum())
        if key in self._known and self.may_use():
            return self._known[key]
        logits = super().forward(x)
        if len(self._known) < self._most:
            self._known[key] = logits
        return logits

    def may_use(self) -> bool:
        return True


class Remembers(Dense):
    name = "remembers"

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return _Remembering(model)


class WarmUpOnly(Dense):
    """Keeps the first few answers: those of the warm-up."""

    name = "warm_up_only"

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return _Remembering(model, most=3)


class _Unwatched(_Remembering):
    def may_use(self) -> bool:
        return torch._C._len_torch_dispatch_stack() == 0


class RemembersUnwatched(Dense):
    """Uses what it keeps only where no counter is on, as when it is timed."""

    name = "remembers_unwatched"

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return _Unwatched(model)


class Table(Dense):
    """What `infer` has found lies in a table that the executor is made with: nothing runs, and nothing is accounted."""

    name = "table"
    static = False

    def __init__(self, config: object) -> None:
        super().__init__(config)
        self.known: dict[float, Tensor] = {}

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        logits = model(x)
        self.known.update(zip(x.double().sum((1, 2, 3)).tolist(), logits[:, None], strict=True))
        nothing = torch.zeros(len(x), dtype=torch.float64)
        layers = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
        return [Output(logits, {name: LayerUsage(outputs=nothing) for name in layers}) for _ in points]

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return _FromTable(model, self.known)


class _FromTable(Whole):
    def __init__(self, model: nn.Module, known: dict[float, Tensor]) -> None:
        super().__init__(model)
        self._known = known

    def forward(self, x: Tensor) -> Tensor:
        known = self._known.get(float(x.double().sum()))
        return super().forward(x) if known is None else known
