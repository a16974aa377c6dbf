"""A convolution with its batch normalisation folded in, of which any list of channels can be left out."""

from collections.abc import Callable
from typing import Self

from torch import Tensor, nn
from torch.nn.functional import conv2d

from dynbench.executors.packed_weights import PackedWeights
from dynbench.kernels.cpu import operators as native
from dynbench.kernels.triton import operators as gpu
from dynbench.kernels.triton.operators import ActiveRows

EAGER = "pytorch eager"


def kernels_of(executor: nn.Module) -> str:
    """Name the engine of the module's convolutions.

    `dynbench kernels (avx512)` where any of them is one of ours, `dynbench kernels (triton)` where any has run on
    those, else `pytorch eager`.
    """
    convolutions = [module for module in executor.modules() if isinstance(module, FoldedConv)]
    if any(conv.taps is not None for conv in convolutions):
        return "dynbench kernels (triton)"
    return f"dynbench kernels ({native.instruction_set()})" if any(conv.native for conv in convolutions) else EAGER


class FoldedConv(nn.Module):
    """A convolution with the batch normalisation after it, as they are in evaluation; any part of its channels.

    `layers` names the model's layer that it stands for, so that the audit can say which layer ran something other than
    was accounted. `native` is true where the kernels run it, on a CPU in fp32; elsewhere plain PyTorch does, correct on
    every device but gathering weights at every call. `limit` is what its ReLU is cut off at: 6 for ReLU6.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self, conv: nn.Conv2d, norm: nn.BatchNorm2d, layer: str, kernels: bool = True, limit: float | None = None
    ) -> None:
        super().__init__()
        if isinstance(conv.padding, str) or conv.padding_mode != "zeros":
            raise ValueError(f"{layer}: only zero padding of a given size can be folded, got {conv.padding}")
        self.layers, self.limit = (layer,), limit
        self.stride, self.padding, self.dilation, self.groups = conv.stride, conv.padding, conv.dilation, conv.groups
        scale, shift = _affine(norm)
        weight = conv.weight.detach().double() * scale[:, None, None, None]
        bias = shift if conv.bias is None else shift + conv.bias.detach().double() * scale
        self.register_buffer("weight", weight.to(conv.weight.dtype).contiguous())
        self.register_buffer("bias", bias.to(conv.weight.dtype))
        self._wants_kernel = kernels
        self.kernel = self._make_kernel()
        self.taps: tuple[Tensor, Tensor] | None = None
        """The weights as the Triton kernels read them. Made when first needed."""

    @property
    def native(self) -> bool:
        """Return whether the convolution runs on dynbench's kernels."""
        return self.kernel is not None

    def _make_kernel(self) -> PackedWeights | None:
        pairs = (self.stride, self.padding, self.dilation)
        if not (self._wants_kernel and PackedWeights.fits(self.weight, self.groups, *pairs)):
            return None
        return PackedWeights(self.weight, self.bias, *(pair[0] for pair in pairs))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Called when the module moves to another device or type."""
        moved: Self = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.kernel, self.taps = self._make_kernel(), None
        return moved

    def forward(
        self,
        x: Tensor,
        outputs: Tensor | ActiveRows | None = None,
        inputs: Tensor | ActiveRows | None = None,
        *,
        scale: Tensor | None = None,
        residual: Tensor | None = None,
        relu: bool = False,
    ) -> Tensor:
        """Return `(conv(x) + bias) * scale + residual`, then ReLU if asked for: (batch, active outputs, h', w').

        `outputs` and `inputs` are the indices of active channels, None for all; weights of other channels are not read.
        `x` (batch, active inputs, h, w) holds the active input channels only. `scale` is (batch or 1, active outputs
        or 1), not negative, `residual` has the result's shape.

        A depthwise convolution is told its `outputs`; `inputs`, the same, says that `x` holds no others.

        `ActiveRows` in the place of either are each image's own channels, and tensors as
        `dynbench.kernels.triton.operators` has them.
        """
        if isinstance(outputs, ActiveRows) or isinstance(inputs, ActiveRows):
            return self._per_image(x, outputs, inputs, scale, residual, relu)
        if relu and self.limit is not None:
            return self._limited(self._run(x, outputs, inputs, None, residual, True), scale)
        return self._run(x, outputs, inputs, scale, residual, relu)

    @property
    def per_image_fits(self) -> bool:
        """Whether the Triton kernels can run it."""
        square = all(len(set(pair)) == 1 for pair in (self.stride, self.padding, self.dilation))
        return self.groups == 1 and self.limit is None and square

    def _per_image(
        self,
        x: Tensor,
        outputs: Tensor | ActiveRows | None,
        inputs: Tensor | ActiveRows | None,
        scale: Tensor | None,
        residual: Tensor | None,
        relu: bool,
    ) -> Tensor:
        if isinstance(outputs, ActiveRows):
            return gpu.some_outputs(x, self._taps()[0], self.bias, outputs, scale, relu, self._options())
        assert isinstance(inputs, ActiveRows)
        return gpu.some_inputs(x, self._taps()[1], self.bias, inputs, scale, residual, relu, self._options())

    def _taps(self) -> tuple[Tensor, Tensor]:
        if self.taps is None:
            self.taps = gpu.by_tap(self.weight)
        return self.taps

    def _options(self) -> tuple[int, int, int]:
        stride, padding, dilation = (int(pair[0]) for pair in (self.stride, self.padding, self.dilation))
        return stride, padding, dilation

    def _limited(self, y: Tensor, scale: Tensor | None) -> Tensor:
        """ReLU6 does not go through a scale as ReLU does."""
        y = y.clamp_(max=self.limit)
        return y if scale is None else y * scale[:, :, None, None]

    def _run(
        self,
        x: Tensor,
        outputs: Tensor | None,
        inputs: Tensor | None,
        scale: Tensor | None,
        residual: Tensor | None,
        relu: bool,
    ) -> Tensor:
        if self.groups > 1 and (outputs is not None or inputs is not None):
            return self._finished(self._depthwise(x, outputs, inputs), scale, residual, relu)
        if self.kernel is not None:
            return self.kernel(x, outputs, inputs, scale, residual, relu)
        return self._finished(self._by_pytorch(x, outputs, inputs), scale, residual, relu)

    def _depthwise(self, x: Tensor, outputs: Tensor | None, inputs: Tensor | None) -> Tensor:
        """Some channels of a depthwise convolution. Raises ValueError for other grouped convolutions."""
        depthwise = self.groups == len(self.weight) and self.weight.shape[1] == 1
        if not depthwise or outputs is None or (inputs is not None and len(inputs) != len(outputs)):
            raise ValueError(f"{self.layers[0]}: channels of a grouped convolution cannot be left out one by one")
        x = x[:, outputs] if inputs is None else x
        weight, bias = self.weight[outputs], self.bias[outputs]
        if not len(outputs):
            return x.new_empty(len(x), 0, *self._size(x))
        return conv2d(x, weight, bias, self.stride, self.padding, self.dilation, len(outputs))

    @staticmethod
    def _finished(y: Tensor, scale: Tensor | None, residual: Tensor | None, relu: bool) -> Tensor:
        if scale is not None:
            y = y * scale[:, :, None, None]
        if residual is not None:
            y = y + residual
        return y.relu_() if relu else y

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
