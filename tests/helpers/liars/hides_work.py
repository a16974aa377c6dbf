"""Runs what it says it skips where the counter does not look. Each claims that the classifier costs nothing."""

import subprocess
import sys
import warnings
from collections.abc import Sequence
from threading import Thread
from typing import cast

import torch
from dynbench_methods.dense import Dense
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, unfold
from torch.utils._python_dispatch import _disable_current_modes

from dynbench.backbones import Backbone
from dynbench.method import LayerUsage, Output, Point


class _Hides(Dense):
    static = False
    hidden: tuple[str, ...] = ("linear",)

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        nothing = LayerUsage(outputs=torch.zeros(len(x), dtype=torch.float64))
        return [Output(model(x), dict.fromkeys(self.hidden, nothing)) for _ in points]

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return _Executor(cast("Backbone", model), self)

    def classify(self, linear: nn.Linear, x: Tensor) -> Tensor:
        """Of pooled features (batch, channels)."""
        return cast("Tensor", linear(x))

    def convolve(self, conv: nn.Conv2d, x: Tensor) -> Tensor:
        return cast("Tensor", conv(x))


class _Executor(nn.Module):
    def __init__(self, backbone: Backbone, method: _Hides) -> None:
        super().__init__()
        self.backbone, self.method = backbone, method

    def forward(self, x: Tensor) -> Tensor:
        x = self.backbone.stem(x)
        for name, block in self.backbone.named_blocks():
            hidden = x
            for conv in ("conv1", "conv2"):
                layer = cast("nn.Conv2d", block.get_submodule(conv))
                run = self.method.convolve if f"{name}.{conv}" in self.method.hidden else layer.__call__
                hidden = run(layer, hidden) if f"{name}.{conv}" in self.method.hidden else layer(hidden)
                hidden = block.get_submodule(conv.replace("conv", "bn"))(hidden)
                hidden = hidden.relu() if conv == "conv1" else hidden
            x = block.join(hidden, x)
        return self.method.classify(self.backbone.linear, x.mean((2, 3)))


class InAThread(_Hides):
    name = "in_a_thread"

    def classify(self, linear: nn.Linear, x: Tensor) -> Tensor:
        found: list[Tensor] = []

        def work() -> None:
            with torch.inference_mode():  # modes are a thread's own
                found.append(super(InAThread, self).classify(linear, x))

        thread = Thread(target=work)
        thread.start()
        thread.join()
        return found[0]


class InAProcess(_Hides):
    name = "in_a_process"

    def classify(self, linear: nn.Linear, x: Tensor) -> Tensor:
        subprocess.run([sys.executable, "-c", ""], check=True)
        return super().classify(linear, x)


class WithoutModes(_Hides):
    """Switches the counter off for a moment."""

    name = "without_modes"

    def classify(self, linear: nn.Linear, x: Tensor) -> Tensor:
        with _disable_current_modes():
            return super().classify(linear, x)


class InNumpy(_Hides):
    name = "in_numpy"

    def classify(self, linear: nn.Linear, x: Tensor) -> Tensor:
        return torch.from_numpy(x.numpy() @ linear.weight.detach().numpy().T + linear.bias.detach().numpy())


class InNumpyUnseen(InNumpy):
    """The same where PyTorch tells nobody which functions are called."""

    name = "in_numpy_unseen"

    def classify(self, linear: nn.Linear, x: Tensor) -> Tensor:
        with torch._C.DisableTorchFunction():
            return super().classify(linear, x)


class InOneDnn(_Hides):
    """In the layout of oneDNN, whose operators a counter of shapes may not know."""

    name = "in_onednn"

    def classify(self, linear: nn.Linear, x: Tensor) -> Tensor:
        weight, bias = linear.weight.to_mkldnn(), linear.bias.to_mkldnn()
        return torch.nn.functional.linear(x.to_mkldnn(), weight, bias).to_dense()


class Frozen(_Hides):
    """Scripted and frozen: its weights are constants of a graph."""

    name = "frozen"

    def classify(self, linear: nn.Linear, x: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its retirement
            graph = torch.jit.freeze(torch.jit.script(linear.eval()))
        return cast("Tensor", graph(x))


class InBags(_Hides):
    """A row of weights for each input, weighed and added."""

    name = "in_bags"

    def classify(self, linear: nn.Linear, x: Tensor) -> Tensor:
        rows = torch.arange(x.shape[1]).expand(len(x), -1)
        return embedding_bag(rows, linear.weight.T, per_sample_weights=x, mode="sum") + linear.bias


class Dilated(_Hides):
    """A convolution by an operator that PyTorch's counter has no formula for."""

    name = "dilated"
    hidden = ("layer1.0.conv1",)

    def convolve(self, conv: nn.Conv2d, x: Tensor) -> Tensor:
        found = torch.ops.aten.slow_conv_dilated2d(x, conv.weight, [3, 3], None, [1, 1], [1, 1], [1, 1])
        return cast("Tensor", found)


class WithoutAFormula(_Hides):
    """A matrix times a vector, which torch's counter does not know."""

    name = "without_a_formula"

    def classify(self, linear: nn.Linear, x: Tensor) -> Tensor:
        return torch.stack([torch.mv(linear.weight, one) + linear.bias for one in x])


class Unlisted(_Hides):
    """Products by an operator that the counter has never heard of."""

    name = "unlisted"

    def classify(self, linear: nn.Linear, x: Tensor) -> Tensor:
        products = torch._foreach_mul([x] * len(linear.weight), list(linear.weight))
        return torch.stack([one.sum(1) for one in products], 1) + linear.bias


class InProducts(_Hides):
    """Convolutions as element-wise products and sums."""

    name = "in_products"
    hidden = ("layer1.0.conv1", "layer1.0.conv2")

    def convolve(self, conv: nn.Conv2d, x: Tensor) -> Tensor:
        columns = unfold(x, 3, padding=1)
        products = conv.weight.flatten(1)[None, :, :, None] * columns[:, None]
        whole: Tensor = products.sum(2).unflatten(2, x.shape[2:])
        return whole
