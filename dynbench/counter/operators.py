"""Which operators may run, and what each counts as. What is on no list is refused by its name.

Lists say what is allowed. Nothing is guessed from a name, and an operator that a new PyTorch brings is refused until
it is written down here what it does.
"""

from collections.abc import Mapping
from functools import cache
from typing import Literal

import torch

from dynbench.counter.formulas import FORMULAS

Kind = Literal["counted", "product", "free", "inside", "unknown"]
"""counted: MACs by a formula. product: element-wise products. free: neither multiplies nor divides. inside: what it
calls is looked at. unknown: refused."""

FREE: Mapping[str, str] = {
    "another view of the same numbers": """
        alias as_strided detach diagonal expand expand_as flatten lift lift_fresh movedim narrow permute
        reshape reshape_as _reshape_alias select slice split split_with_sizes squeeze swapaxes t transpose
        unbind unflatten unsafe_split unsafe_split_with_sizes unfold unsqueeze _unsafe_view view view_as
        view_as_complex view_as_real chunk numpy_T matrix_H mT""",
    "moves numbers and changes none": """
        block_diag cat channel_shuffle clone col2im constant_pad_nd contiguous copy _copy_from diag diag_embed
        embedding fill flip gather im2col index index_copy index_fill index_put _index_put_impl index_select
        masked_fill masked_scatter masked_select max_unpool2d max_unpool3d pixel_shuffle pixel_unshuffle
        reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave replication_pad1d
        replication_pad2d replication_pad3d resize roll rot90 scatter select_scatter set slice_scatter stack
        _stack take _to_copy to tril triu _unsafe_index _unsafe_index_put upsample_nearest1d
        upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d
        _upsample_nearest_exact3d where zero resolve_conj resolve_neg type_as""",
    "makes numbers out of nothing": """
        arange bernoulli empty empty_like empty_permuted empty_strided eye full full_like linspace new_empty
        new_empty_strided new_full new_ones new_zeros normal ones ones_like rand rand_like randint
        randint_like randn randn_like random randperm range scalar_tensor tril_indices triu_indices uniform
        zeros zeros_like""",
    "adds and subtracts": "cumsum index_add nansum neg scatter_add sum trace",
    "an average: sums, and one division by a constant for each of them, which published figures leave out": """
        _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d avg_pool1d avg_pool2d avg_pool3d mean""",
    "compares, and picks what it compared": """
        abs adaptive_max_pool2d adaptive_max_pool3d all allclose amax amin aminmax any argmax argmin argsort
        bucketize ceil clamp clamp_max clamp_min count_nonzero cummax cummin eq equal floor fmax fmin
        fractional_max_pool2d fractional_max_pool3d ge gt hardshrink hardtanh heaviside isfinite isin isinf
        isnan isneginf isposinf kthvalue le logical_and logical_not logical_or logical_xor lt max
        max_pool2d_with_indices max_pool3d_with_indices maximum median min minimum mode msort nan_to_num
        nanmedian ne nonzero nonzero_static relu relu6 round searchsorted sgn sign signbit sort threshold topk
        trunc unique_consecutive unique_dim _unique _unique2""",
    "tells something about a tensor": """
        is_nonzero is_same_size is_pinned item _local_scalar_dense numel _assert_async _assert_scalar
        _assert_tensor_metadata _has_same_storage_numel sym_numel sym_size sym_storage_offset sym_stride
        _is_all_true _is_any_true""",
}
"""Neither multiply nor divide, each with the reason."""

PRODUCTS: Mapping[str, str] = {
    "multiplies": """
        addcmul addr _add_relu add cumprod lerp logdet mul prod rsub square sub __lshift__ __rshift__
        __ilshift__ __irshift__ bitwise_left_shift bitwise_right_shift bitwise_and bitwise_not bitwise_or
        bitwise_xor""",
    "divides": "addcdiv div floor_divide fmod reciprocal remainder rad2deg deg2rad",
    "a smooth function, of which products can be made: ab = exp(log a + log b), 4ab = (a + b)^2 - (a - b)^2": """
        acos acosh angle asin asinh atan atan2 atanh celu cos cosh elu erf erfc erfinv exp exp2 expm1 gelu glu
        hardsigmoid hardswish huber_loss hypot lgamma log log10 log1p log2 log_sigmoid_forward logaddexp
        logaddexp2 logit mish pow rsqrt selu sigmoid silu sin sinc sinh smooth_l1_loss softplus
        soft_margin_loss sqrt tan tanh xlogy leaky_relu _prelu_kernel softshrink mse_loss binary_cross_entropy
        binary_cross_entropy_with_logits""",
    "normalises": """
        batch_norm_elemt _batch_norm_no_update _batch_norm_with_update cudnn_batch_norm native_batch_norm
        _native_batch_norm_legit _native_batch_norm_legit_no_training native_group_norm native_layer_norm
        linalg_vector_norm norm renorm std std_mean var var_mean _weight_norm_interface _fused_rms_norm""",
    "a softmax: an exponential and a division": """
        _log_softmax _logcumsumexp logcumsumexp logsumexp _masked_softmax _safe_softmax _softmax""",
    "interpolates": """
        affine_grid_generator grid_sampler_2d grid_sampler_3d upsample_bicubic2d upsample_bilinear2d
        upsample_linear1d upsample_trilinear3d _upsample_bicubic2d_aa _upsample_bilinear2d_aa""",
    "scales what it keeps": "native_dropout dropout",
    "loses what it selects": "nll_loss_forward nll_loss2d_forward scatter_reduce index_reduce",
    "the gates of a recurrent cell": "_thnn_fused_gru_cell _thnn_fused_lstm_cell",
}
"""Multiply or divide element by element: for each element of the largest tensor, one product."""

UNSCALED = frozenset({"add", "sub", "rsub", "_add_relu"})
"""Products only where `alpha` scales one of the two."""
LOGICAL = frozenset({"bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor"})
"""Products only of numbers: of truth values they are logic."""
ELSEWHERE: Mapping[str, str] = {
    "dynbench::active": "compares a gate's scores",
    "prim::device": "tells something about a tensor",
    "prim::dtype": "tells something about a tensor",
    "prim::layout": "tells something about a tensor",
    "profiler::_record_function_enter": "marks a part of the program",
    "profiler::_record_function_enter_new": "marks a part of the program",
    "profiler::_record_function_exit": "marks a part of the program",
}
"""Free operators that are not PyTorch's tensor operators."""


@cache
def kind_of(name: str) -> Kind:
    """Return what the operator `name`, as its schema has it (`aten::addmm`, `aten::add_.Tensor`), counts as."""
    space, _, operator = name.partition("::")
    packet = operator.partition(".")[0]
    if space != "aten":
        return _stranger(space, packet)
    plain = _plain(packet)
    if plain in FORMULAS:
        return "counted"
    if plain in _names(PRODUCTS):
        return "product"
    if plain in _names(FREE):
        return "free"
    return "inside" if _is_composite(name) else "unknown"


def _stranger(space: str, packet: str) -> Kind:
    from torch.utils.flop_counter import flop_registry

    if f"{space}::{packet}" in ELSEWHERE:
        return "free"
    found = getattr(getattr(torch.ops, space, None), packet, None)
    return "counted" if found is not None and found in flop_registry else "unknown"


def _plain(packet: str) -> str:
    """Without the underscore of operators that work in place, or the ending of those that give a copy."""
    name = packet.removesuffix("_") if not packet.endswith("__") else packet
    copied = name.removesuffix("_copy")
    return copied if copied in _names(FREE) else name


@cache
def _names_of(group: int) -> frozenset[str]:
    return frozenset(name for names in (FREE, PRODUCTS)[group].values() for name in names.split())


def _names(which: Mapping[str, str]) -> frozenset[str]:
    return _names_of(0 if which is FREE else 1)


def _is_composite(name: str) -> bool:
    """Whether it is made of other operators and nothing else, on the CPU and on a GPU."""
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    try:
        return has(name, "CompositeImplicitAutograd") and not (has(name, "CPU") or has(name, "CUDA"))
    except RuntimeError:  # there is no such operator
        return False
