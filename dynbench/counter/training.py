"""MACs of training: what is dispatched in the forward and the backward pass, and in an optimizer's step.

Gradients have operators of their own, which an executor may not call: they are counted here and nowhere else.
"""

from collections.abc import Mapping
from functools import cache
from math import prod
from typing import Any

from torch import Size
from torch._ops import OpOverload

from dynbench.counter.dispatch import Counter, named_sizes
from dynbench.counter.formulas import Arguments, Formula, convolution_macs, heads_first


class TrainingCounter(Counter):  # type: ignore[no-untyped-call]
    """Counts a step of training.

    Nothing is refused: what is on no list, as what an optimizer does element by element, is no MAC. `gradients`: MACs
    of the operators that only the backward pass has.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gradients = 0

    def __enter__(self) -> "TrainingCounter":
        super().__enter__()
        return self

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        formula = _formula(func) if isinstance(func, OpOverload) else None
        if formula is not None:
            self.gradients += formula(named_sizes(func, args, kwargs or {}), Size())
        return super().__torch_dispatch__(func, types, args, kwargs)

    @property
    def macs(self) -> int:
        """Of everything so far."""
        return self.work.macs + self.gradients


def _convolution(given: Arguments, out: Size) -> int:
    """The gradients of image and weights, as far as they are asked for: each takes what the convolution took."""
    asked = sum(map(bool, given["output_mask"][:2]))  # not of the bias, which is a sum
    return int(asked * convolution_macs(given, given["grad_output"]))


def _attention(given: Arguments, out: Size) -> int:
    """Scores again, and the gradients of scores, values, queries and keys: five products of matrices for two."""
    *heads, length, width = given["query"]
    scores: int = prod(heads) * int(length) * int(given["key"][-2])
    return scores * (3 * int(width) + 2 * int(given["value"][-1]))


def _attention_rows(given: Arguments, out: Size) -> int:
    return _attention(heads_first(given), out)


def _recurrent_layer(given: Arguments, out: Size) -> int:
    """The gradients of inputs and of weights at each step."""
    steps = int(given["input"][0] * given["input"][1])
    return 2 * steps * int(prod(given["weight1"]) + prod(given["weight2"]))


def _recurrent(given: Arguments, out: Size) -> int:
    steps = int(given["input"][0] * given["input"][1])
    return 2 * steps * int(sum(prod(size) for size in given["weight"] if len(size) > 1))


GRADIENTS: Mapping[str, Formula] = {
    "convolution_backward": _convolution,
    **dict.fromkeys(
        (
            "_scaled_dot_product_flash_attention_backward",
            "_scaled_dot_product_flash_attention_for_cpu_backward",
            "_scaled_dot_product_efficient_attention_backward",
            "_scaled_dot_product_cudnn_attention_backward",
            "_scaled_dot_product_fused_attention_overrideable_backward",
        ),
        _attention,
    ),
    **dict.fromkeys(("_flash_attention_backward", "_efficient_attention_backward"), _attention_rows),
    "mkldnn_rnn_layer_backward": _recurrent_layer,
    "_cudnn_rnn_backward": _recurrent,
}
"""Of the backward pass; all other gradients of products of matrices are products of matrices."""


@cache
def _formula(func: OpOverload) -> Formula | None:
    space, _, name = str(func.name()).partition("::")  # type: ignore[no-untyped-call]
    return GRADIENTS.get(name.partition(".")[0]) if space == "aten" else None
