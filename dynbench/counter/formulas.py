"""How many MACs an operator takes, from the shapes that it was called with.

A formula is given the operator's arguments by the names of its schema, tensors as `torch.Size`, and the output's size
(of several, the first's).
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from torch import Size

Arguments = Mapping[str, Any]
Formula = Callable[[Arguments, Size], int]


class UncountableError(ValueError):
    """An operator is called in a way that its formula does not know."""


def _matrices(first: str, second: str) -> Formula:
    """Of `(..., n, k) @ (..., k, m)`: every element of the result sums k products."""

    def macs(given: Arguments, out: Size) -> int:
        return prod(given[first]) * int(given[second][-1])

    return macs


def _elements(name: str) -> Formula:
    """One MAC for each element of an argument: a matrix times a vector, a product of two vectors."""

    def macs(given: Arguments, out: Size) -> int:
        return prod(given[name])

    return macs


def convolution_macs(given: Arguments, out: Size) -> int:
    """Return MACs: of weights (K, C / groups, taps...), all of them once for each output pixel.

    Transposed, weights are (C, K / groups, taps...), and each pixel of the input meets all of its channel's.
    """
    if given.get("transposed"):
        return _transposed(given, out)
    return _pixels(out) * prod(given["weight"])


def _transposed(given: Arguments, out: Size) -> int:
    image = given["input"] if "input" in given else given["self"]
    unbatched = len(image) < len(given["weight"])
    return (prod(image[1:]) if unbatched else _pixels(image)) * prod(given["weight"])


def _pixels(image: Sequence[int]) -> int:
    """Of all images (batch, channels, pixels...)."""
    return int(image[0]) * prod(image[2:])


def _conv_tbc(given: Arguments, out: Size) -> int:
    """Images (time, batch, channels), weights (taps, C, K)."""
    return int(out[0]) * int(out[1]) * prod(given["weight"])


def _attention(given: Arguments, out: Size) -> int:
    """Queries (..., L, E), keys (..., S, E), values (..., S, F): L * S scores of E products, and as many times F.

    What a causal mask hides is counted, as everywhere.
    """
    *heads, length, width = given["query"]
    return int(prod(heads) * length * given["key"][-2] * (width + given["value"][-1]))


def _attention_rows(given: Arguments, out: Size) -> int:
    """The same of (batch, L, heads, E); of rows that are packed without padding the lengths are not in the shapes."""
    if any(given.get(name) is not None for name in ("cum_seq_q", "cu_seqlens_q")):
        raise UncountableError("sequences of different lengths")
    return _attention(heads_first(given), out)


def heads_first(given: Arguments) -> Arguments:
    """Sizes (batch, L, heads, E) of queries, keys and values as (batch, heads, L, E)."""
    return {name: [given[name][i] for i in (0, 2, 1, 3)] for name in ("query", "key", "value")}


def _multi_head(given: Arguments, out: Size) -> int:
    """Queries (batch, L, D), keys and values (batch, S, D): four projections of D * D, and the attention."""
    batch, length, width = given["query"]
    others = int(given["key"][1])
    return int(batch * (2 * width * width * (length + others) + 2 * length * others * width))


def _encoder_layer(given: Arguments, out: Size) -> int:
    """Self-attention and two linear layers on tokens (batch, L, D)."""
    source = given["src"]
    attention = _multi_head({"query": source, "key": source}, out)
    weights: int = prod(given["ffn_weight_1"]) + prod(given["ffn_weight_2"])
    return attention + int(source[0] * source[1]) * weights


def _rnn_layer(given: Arguments, out: Size) -> int:
    """Steps (time, batch, inputs): at each the weights of inputs and of hidden values once. Gates are products."""
    steps = given["input"][0] * given["input"][1]
    return int(steps) * (prod(given["weight0"]) + prod(given["weight1"]))


def _cudnn_rnn(given: Arguments, out: Size) -> int:
    if given["batch_sizes"]:
        raise UncountableError("sequences of different lengths")
    steps = given["input"][0] * given["input"][1]
    weights: int = sum(prod(size) for size in given["weight"] if len(size) > 1)
    return int(steps) * weights


def _trilinear(given: Arguments, out: Size) -> int:
    """`sum(i1 * i2 * i3)`, as PyTorch does it: of the first two, summed over what the third has not; then the third."""
    one, two, three = (_expanded(given[f"i{i}"], given[f"expand{i}"]) for i in (1, 2, 3))
    pairs = [max(sizes) for sizes in zip(one, two, strict=True)]
    gone = set(given["sumdim"]) & set(given["expand3"])
    left = [1 if dim in gone else size for dim, size in enumerate(pairs)]
    return prod(pairs) + prod(max(sizes) for sizes in zip(left, three, strict=True))


def _expanded(size: Sequence[int], dimensions: Sequence[int]) -> list[int]:
    whole = list(size)
    for dimension in sorted(dimensions):
        whole.insert(dimension, 1)
    return whole


def _embedding_bag(given: Arguments, out: Size) -> int:
    """Rows are added; with weights each is multiplied first."""
    return 0 if given.get("per_sample_weights") is None else prod(given["indices"]) * int(given["weight"][1])


def _distances(given: Arguments, out: Size) -> int:
    """A difference and its power for each feature of each pair (..., P, M), (..., R, M)."""
    return prod(out) * int(given["x1"][-1])


FORMULAS: Mapping[str, Formula] = {
    **dict.fromkeys(("mm", "_int_mm", "_scaled_mm"), _matrices("self", "mat2")),
    **dict.fromkeys(("addmm", "_addmm_activation"), _matrices("mat1", "mat2")),
    "bmm": _matrices("self", "mat2"),
    **dict.fromkeys(("baddbmm", "addbmm"), _matrices("batch1", "batch2")),
    **dict.fromkeys(("mv", "dot", "vdot"), _elements("self")),
    "addmv": _elements("mat"),
    **dict.fromkeys(
        (
            "convolution",
            "_convolution",
            "convolution_overrideable",
            "cudnn_convolution",
            "cudnn_convolution_relu",
            "cudnn_convolution_add_relu",
            "mkldnn_convolution",
            "slow_conv_dilated2d",
            "slow_conv_dilated3d",
            "slow_conv3d_forward",
            "conv_depthwise3d",
            "_conv_depthwise2d",
            "_slow_conv2d_forward",
        ),
        convolution_macs,
    ),
    **dict.fromkeys(("cudnn_convolution_transpose", "slow_conv_transpose2d", "slow_conv_transpose3d"), _transposed),
    "conv_tbc": _conv_tbc,
    **dict.fromkeys(
        (
            "_scaled_dot_product_flash_attention",
            "_scaled_dot_product_flash_attention_for_cpu",
            "_scaled_dot_product_efficient_attention",
            "_scaled_dot_product_cudnn_attention",
            "_scaled_dot_product_fused_attention_overrideable",
        ),
        _attention,
    ),
    **dict.fromkeys(("_flash_attention_forward", "_efficient_attention_forward"), _attention_rows),
    "_native_multi_head_attention": _multi_head,
    "_transformer_encoder_layer_fwd": _encoder_layer,
    "mkldnn_rnn_layer": _rnn_layer,
    "_cudnn_rnn": _cudnn_rnn,
    "_trilinear": _trilinear,
    **dict.fromkeys(("_embedding_bag", "_embedding_bag_forward_only"), _embedding_bag),
    **dict.fromkeys(("_cdist_forward", "_euclidean_dist"), _distances),
}
"""Of PyTorch's own operators, without the underscore of those that work in place."""
