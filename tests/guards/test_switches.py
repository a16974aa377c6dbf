"""A switch of PyTorch that is turned is noticed by its name; one that is turned back is not."""

from collections.abc import Callable

import pytest
import torch

from dynbench.errors import AuditFailed
from dynbench.guards.switches import GlobalSwitches, switches
from dynbench.guards.tampering import seal, verify

TURNS: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "mkldnn.enabled": (lambda: torch._C._set_mkldnn_enabled(False), lambda: torch._C._set_mkldnn_enabled(True)),
    "get_default_dtype": (
        lambda: torch.set_default_dtype(torch.float64),
        lambda: torch.set_default_dtype(torch.float32),
    ),
    "denormal": (lambda: torch.set_flush_denormal(True), lambda: torch.set_flush_denormal(False)),
    "deterministic_algorithms": (
        lambda: torch.use_deterministic_algorithms(True),
        lambda: torch.use_deterministic_algorithms(False),
    ),
    "is_autocast_enabled on the CPU": (
        lambda: torch.set_autocast_enabled("cpu", True),
        lambda: torch.set_autocast_enabled("cpu", False),
    ),
    "cudnn.benchmark": (lambda: torch._C._set_cudnn_benchmark(True), lambda: torch._C._set_cudnn_benchmark(False)),
    "mha.get_fastpath_enabled": (
        lambda: torch.backends.mha.set_fastpath_enabled(False),
        lambda: torch.backends.mha.set_fastpath_enabled(True),
    ),
    "float32_matmul_precision": (
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: torch.set_float32_matmul_precision("highest"),
    ),
}


@pytest.mark.parametrize("name", TURNS)
def test_a_turned_switch_is_named(name: str) -> None:
    there, back = TURNS[name]
    before = GlobalSwitches()
    seal()
    there()
    try:
        with pytest.raises(AuditFailed, match=f"while it was timed, .*{name}"):
            before.check("while it was timed")
        with pytest.raises(AuditFailed, match=name):
            verify("after timing")
    finally:
        back()
    before.check("while it was timed")


def test_hooks_on_every_module_are_noticed() -> None:
    before = GlobalSwitches()
    handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
    with pytest.raises(AuditFailed, match="the number of _global_forward_hooks is 1"):
        before.check("while it was timed")
    handle.remove()
    before.check("while it was timed")


def test_values_are_plain() -> None:
    assert all(isinstance(value, str | int | float | bool) for value in switches().values())
