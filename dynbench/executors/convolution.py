"""A convolution with its batch normalisation folded in, of which any list of channels can be left out."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from dynbench.native import operators as native


class FoldedConv(nn.Module):
    """A convolution with the batch normalisation after it, as they are in evaluation; any part of its channels.

    `layers` names the model's layer that it stands for, so that the audit can say which layer ran something else than
    was accounted. `native` is true where the kernels run it, on a CPU in fp32; elsewhere plain PyTorch does, correct on
    every device but gathering weights at every call.
    """

    weight: Tensor
    bias: Tensor
    packed: Tensor | None
    """The weights as the kernels want them where all outputs run."""
    by_input: Tensor | None
    """And where some inputs run on a small image: (C, K, KH, KW). Made when first needed."""

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d, layer: str, kernels: bool = True) -> None:
        super().__init__()
        if isinstance(conv.padding, str) or conv.padding_mode != "zeros":
            raise ValueError(f"{layer}: only zero padding of a given size can be folded, got {conv.padding}")
        self.layers = (layer,)
        self.stride, self.padding, self.dilation, self.groups = conv.stride, conv.padding, conv.dilation, conv.groups
        scale, shift = _affine(norm)
        weight = conv.weight.detach().double() * scale[:, None, None, None]
        bias = shift if conv.bias is None else shift + conv.bias.detach().double() * scale
        self.register_buffer("weight", weight.to(conv.weight.dtype).contiguous())
        self.register_buffer("bias", bias.to(conv.weight.dtype))
        self.register_buffer("packed", native.pack(self.weight) if kernels and self._fits_kernels() else None)
        self.register_buffer("by_input", None)

    @property
    def native(self) -> bool:
        return self.packed is not None and self.weight.is_cpu

    def _fits_kernels(self) -> bool:
        symmetric = all(len(set(pair)) == 1 for pair in (self.stride, self.padding, self.dilation))
        on_cpu = self.weight.is_cpu and self.weight.dtype == torch.float32
        return on_cpu and self.groups == 1 and symmetric and native.available()

    def forward(
        self,
        x: Tensor,
        outputs: Tensor | None = None,
        inputs: Tensor | None = None,
        *,
        scale: Tensor | None = None,
        residual: Tensor | None = None,
        relu: bool = False,
    ) -> Tensor:
        """`(conv(x) + bias) * scale + residual`, then ReLU if asked for: (batch, active outputs, h', w').

        `outputs` and `inputs` are the indices of active channels, None for all; weights of other channels are not read.
        `x` (batch, active inputs, h, w) holds the active input channels only. `scale` is (batch or 1, active outputs
        or 1), `residual` has the result's shape.
        """
        if self.groups > 1 and (outputs is not None or inputs is not None):
            raise ValueError(f"{self.layers[0]}: channels of a grouped convolution cannot be left out one by one")
        if self.native:
            return self._by_kernel(x, outputs, inputs, scale, residual, relu)
        y = self._by_pytorch(x, outputs, inputs)
        if scale is not None:
            y = y * scale[:, :, None, None]
        if residual is not None:
            y = y + residual
        return y.relu_() if relu else y

    def _by_kernel(
        self,
        x: Tensor,
        outputs: Tensor | None,
        inputs: Tensor | None,
        scale: Tensor | None,
        residual: Tensor | None,
        relu: bool,
    ) -> Tensor:
        weight, by_input = self._layout(x, outputs, inputs)
        scale = None if scale is None else scale.contiguous()
        residual = None if residual is None else native.with_planes(residual)
        options = (self.stride[0], self.padding[0], self.dilation[0])
        return native.convolution(
            native.with_planes(x), weight, self.bias, outputs, inputs, scale, residual, relu, *options, by_input
        )

    def _layout(self, x: Tensor, outputs: Tensor | None, inputs: Tensor | None) -> tuple[Tensor, bool]:
        """The weights in the layout that suits the call, and whether that is by input."""
        if outputs is not None:
            return self.weight, False
        if inputs is not None and native.small(x, self.weight.shape[2:], self.stride[0]):
            if self.by_input is None:
                self.by_input = self.weight.transpose(0, 1).contiguous()
            return self.by_input, True
        assert self.packed is not None
        return self.packed, False

    def _by_pytorch(self, x: Tensor, outputs: Tensor | None, inputs: Tensor | None) -> Tensor:
        weight = self.weight if outputs is None else self.weight[outputs]
        bias = self.bias if outputs is None else self.bias[outputs]
        weight = weight if inputs is None else weight[:, inputs]
        if 0 in weight.shape[:2]:
            return bias[:, None, None].expand(len(x), -1, *self._size(x)).clone()
        return conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def _size(self, x: Tensor) -> tuple[int, int]:
        """Height and width of the output; nothing needs to be computed to know them."""
        height, width = (
            (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for size, padding, dilation, kernel, stride in zip(
                x.shape[2:], self.padding, self.dilation, self.weight.shape[2:], self.stride, strict=True
            )
        )
        return height, width


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift (channels,) of a normalisation in evaluation, in float64."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a batch normalisation without running statistics cannot be folded")
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.detach().double()
    shift = -norm.running_mean.double() * scale
    return scale, shift + norm.bias.detach().double() if norm.affine else shift
