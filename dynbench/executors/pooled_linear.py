"""Linear layers on the global average pooling of features: classifiers and control nets."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from dynbench.kernels.cpu import operators as native


class PooledLinear(nn.Module):
    """Some linear layers side by side on the mean over pixels, whole; `layers` names the model's layers that it stands
    for."""

    weight: Tensor
    bias: Tensor

    def __init__(self, sources: Sequence[nn.Linear], layers: tuple[str, ...], kernels: bool = True) -> None:
        super().__init__()
        self.layers, self._kernels = layers, kernels
        self.register_buffer("weight", torch.cat([source.weight.detach() for source in sources]))
        self.register_buffer("bias", torch.cat([source.bias.detach() for source in sources]))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, h, w) -> (batch, outputs of all)."""
        if self._kernels and len(x) == 1 and x.is_cpu and x.dtype == torch.float32 and native.available():
            return native.pooled_linear(x, self.weight, self.bias)
        return linear(x.mean((2, 3)), self.weight, self.bias)
