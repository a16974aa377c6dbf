"""One convolution on our kernels: its weights in the layouts that they want."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dynbench.kernels.cpu import operators as native


class PackedWeights:
    """Weights (K, C, KH, KW) and bias (K,) in fp32 on the CPU, shared with the caller."""

    def __init__(self, weight: Tensor, bias: Tensor, stride: int, padding: int, dilation: int) -> None:
        self.weight, self.bias = weight, bias
        self.packed = native.pack_weights(weight)
        self.by_input: Tensor | None = None
        """For some inputs of a small image: (C, K, KH, KW). Made when first needed."""
        self._kernel, self.options = tuple(weight.shape[2:]), (stride, padding, dilation)

    @staticmethod
    def fits(weight: Tensor, groups: int, *pairs: Sequence[int]) -> bool:
        """Return whether the kernels can run such a convolution here; `pairs` are its stride, padding and dilation."""
        square = all(len(set(pair)) == 1 for pair in pairs)
        return weight.is_cpu and weight.dtype == torch.float32 and groups == 1 and square and native.available()

    def __call__(
        self,
        x: Tensor,
        outputs: Tensor | None,
        inputs: Tensor | None,
        scale: Tensor | None,
        residual: Tensor | None,
        relu: bool,
    ) -> Tensor:
        """As `FoldedConv.forward`."""
        by_input = inputs is not None and outputs is None and native.small(x, self._kernel, self.options[0])
        if by_input and self.by_input is None:
            self.by_input = self.weight.transpose(0, 1).contiguous()
        weight = self.weight if outputs is not None else self.by_input if by_input else self.packed
        assert weight is not None
        return native.convolution(x, weight, self.bias, outputs, inputs, scale, residual, relu, *self.options, by_input)

    def at(
        self,
        x: Tensor,
        where: Tensor,
        out: Tensor,
        outputs: Tensor | None = None,
        inputs: Tensor | None = None,
        add: bool = False,
    ) -> Tensor:
        """Write as `write_positions` does, of one image."""
        weight = self.weight if outputs is not None else self.packed
        return native.convolution_at(out, x, where, weight, self.bias, outputs, inputs, add, *self.options)
