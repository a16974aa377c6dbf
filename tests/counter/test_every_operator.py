"""Every operator that PyTorch has is counted, allowed for a reason, made of others that are looked at, or refused."""

from collections import Counter as Tally

import pytest
import torch
from torch import Tensor

from dynbench.counter.dispatch import counted
from dynbench.counter.formulas import FORMULAS
from dynbench.counter.operators import ELSEWHERE, FREE, LOGICAL, PRODUCTS, UNSCALED, kind_of
from dynbench.counter.work import Work

ATEN = sorted(name for name in torch._C._dispatch_get_all_op_names() if name.startswith("aten::"))
LISTED = [name for names in (*FREE.values(), *PRODUCTS.values()) for name in names.split()] + list(FORMULAS)


def base(name: str) -> str:
    return name.removeprefix("aten::").partition(".")[0]


def test_there_are_thousands_and_each_has_one_kind() -> None:
    kinds = Tally(map(kind_of, ATEN))
    assert len(ATEN) > 2500
    assert set(kinds) == {"counted", "product", "free", "inside", "unknown"}
    assert [name for name, times in Tally(LISTED).items() if times > 1] == []


def test_lists_name_nothing_that_there_is_not() -> None:
    there = {base(name) for name in ATEN} | {base(name).rstrip("_") for name in ATEN}
    assert [name for name in (*LISTED, *UNSCALED, *LOGICAL) if name not in there] == []


def test_what_is_on_no_list_and_made_of_nothing_that_is_fails_by_its_name() -> None:
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    refused = 0
    for name in ATEN:
        listed = {base(name), base(name).rstrip("_"), base(name).removesuffix("_copy")} & set(LISTED)
        work = Work()
        if not listed and not has(name, "CompositeImplicitAutograd"):
            work.add(name, {}, ())
            assert work.refused == [name]
            refused += 1
        elif not listed:
            assert kind_of(name) in {"inside", "unknown"}
    assert refused > 1000


@pytest.mark.parametrize("name", ["made_up::product", "aten::no_such_operator", "prims::mul", "torchvision::roi_align"])
def test_strangers_are_refused(name: str) -> None:
    assert name not in ELSEWHERE
    assert kind_of(name) == "unknown"


X, W = torch.rand(4, 4), torch.rand(4, 4)
SPELLINGS = {
    "mm": lambda: X.mm(W),
    "matmul": lambda: X @ W,
    "mv": lambda: torch.stack([torch.mv(W, one) for one in X]),
    "dot": lambda: torch.stack([torch.dot(one, row) for one in X for row in W]),
    "vdot": lambda: torch.stack([torch.vdot(one, row) for one in X for row in W]),
    "inner": lambda: torch.inner(X, W),
    "tensordot": lambda: torch.tensordot(X, W, dims=1),
    "einsum": lambda: torch.einsum("ij,jk->ik", X, W),
    "bmm": lambda: X[None].bmm(W[None]),
    "baddbmm": lambda: torch.baddbmm(X[None], X[None], W[None]),
    "addbmm": lambda: torch.addbmm(X, X[None], W[None]),
    "addmm": lambda: torch.addmm(X, X, W),
    "addmv": lambda: torch.stack([torch.addmv(one, W, one) for one in X]),
    "chain": lambda: torch.linalg.multi_dot([X, W]),
    "linear": lambda: torch.nn.functional.linear(X, W),
    "conv": lambda: torch.nn.functional.conv1d(X.T[None], W[:, :, None]),
    "transposed": lambda: torch.nn.functional.conv_transpose1d(X.T[None], W[:, :, None]),
    "dilated": lambda: torch.ops.aten.slow_conv_dilated2d(X.T[None, :, :, None], W[:, :, None, None], [1, 1]),
    "slow": lambda: torch.ops.aten._slow_conv2d_forward(
        X.T[None, :, :, None], W[:, :, None, None], [1, 1], None, [1, 1], [0, 0]
    ),
    "onednn": lambda: torch.ops.aten.mkldnn_convolution(
        X.T[None, :, :, None], W[:, :, None, None], None, [0, 0], [1, 1], [1, 1], 1
    ),
    "tbc": lambda: torch.conv_tbc(X[:, None], W[None], torch.zeros(4)),
    "bags": lambda: torch.stack(
        [
            torch.nn.functional.embedding_bag(torch.arange(4)[None], W, per_sample_weights=one[None], mode="sum")
            for one in X
        ]
    ),
    "multiply": lambda: (X[:, :, None] * W).sum(1),
    "divide": lambda: (X[:, :, None] / W).sum(1),
    "outer": lambda: sum(torch.outer(X[:, k], W[k]) for k in range(4)),
    "addr": lambda: [torch.addr(X, X[:, k], W[k]) for k in range(4)],
    "addcmul": lambda: torch.addcmul(torch.zeros(4, 4, 4), X[:, :, None], W).sum(1),
    "addcdiv": lambda: torch.addcdiv(torch.zeros(4, 4, 4), X[:, :, None], W).sum(1),
    "lerp": lambda: torch.lerp(torch.zeros(4, 4, 4), X[:, :, None].expand(4, 4, 4), W.expand(4, 4, 4)).sum(1),
    "alpha": lambda: [torch.add(X[0], W[k % 4], alpha=0.5) for k in range(16)],
    "logarithms": lambda: (X.log()[:, :, None] + W.log()).exp().sum(1),
    "squares": lambda: ((X[:, :, None] + W).square() - (X[:, :, None] - W).square()).sum(1) / 4,
    "a loss": lambda: torch.nn.functional.mse_loss(X[:, :, None].expand(4, 4, 4), W.expand(4, 4, 4), reduction="sum"),
    "batch norm": lambda: torch.nn.functional.batch_norm(
        X.expand(4, 4, 4), torch.zeros(4), torch.ones(4), W[0], training=False
    ),
    "a norm": lambda: (X[:, :, None] + W).norm(dim=1),
    "variance": lambda: (X[:, :, None] + W).var(1),
    "prod": lambda: torch.stack(torch.broadcast_tensors(X[:, :, None], W)).prod(0),
    "cumprod": lambda: torch.stack(torch.broadcast_tensors(X[:, :, None], W)).cumprod(0),
    "distance": lambda: torch.cdist(X, W, compute_mode="donot_use_mm_for_euclid_dist"),
    "distance by products": lambda: torch.cdist(X, W, compute_mode="use_mm_for_euclid_dist"),
    "attention": lambda: torch.nn.functional.scaled_dot_product_attention(X[None], X[None], W[None]),
    "shifts": lambda: (X[:, :, None].int() << W.int()).sum(1),
    "solve": lambda: torch.linalg.solve(W, X),
    "inverse": lambda: torch.linalg.inv(W),
    "determinant": lambda: torch.linalg.det(W),
    "fft": lambda: torch.fft.fft(X),
    "complex": lambda: torch.complex(X, X) @ torch.complex(W, W),
    "sparse": lambda: torch.sparse.mm(X.to_sparse(), W),
    "onednn's layout": lambda: torch.nn.functional.linear(X.to_mkldnn(), W.to_mkldnn()),
    "quantized": lambda: torch.quantize_per_tensor(X, 0.1, 0, torch.qint8).dequantize() @ W,
    "polynomial": lambda: torch.special.hermite_polynomial_h(X, 3),
    "foreach": lambda: torch._foreach_mul([X] * 4, [W] * 4),
    "cross": lambda: torch.linalg.cross(X[:, :3], W[:, :3]),
}


def packed() -> Tensor:
    """Nothing is multiplied here."""
    return torch.cat([X, W]).flip(0).max(0).values + X.sum(0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_every_spelling_of_a_product_is_seen(spelling: str, mode: type) -> None:
    with mode():
        work, _ = counted(SPELLINGS[spelling])
    assert work.macs or work.products >= 16 or work.refused


def test_what_multiplies_nothing_is_free() -> None:
    work, _ = counted(packed)
    assert (work.macs, work.products, work.refused) == (0, 0, [])
