"""PyTorch's global switches.

Changing one makes everything slower, faster or another computation, the dense reference too.
"""

from collections.abc import Mapping
from typing import Any

from dynbench.errors import AuditFailed


def switches() -> Mapping[str, Any]:
    """Return what each of them is now, by name; hooks that run with every module by their number."""
    import torch
    from torch.nn.modules import module as hooks

    backends = torch.backends
    found: dict[str, Any] = {
        "torch.get_num_threads": torch.get_num_threads(),
        "torch.get_num_interop_threads": torch.get_num_interop_threads(),
        "torch.get_default_dtype": str(torch.get_default_dtype()),
        "torch.get_float32_matmul_precision": torch.get_float32_matmul_precision(),
        "torch.are_deterministic_algorithms_enabled": torch.are_deterministic_algorithms_enabled(),
        "torch.is_anomaly_enabled": torch.is_anomaly_enabled(),
        "torch.is_autocast_enabled on the CPU": torch.is_autocast_enabled("cpu"),
        "torch.is_autocast_enabled on a GPU": torch.is_autocast_enabled("cuda"),
        "torch.get_default_device": str(torch.get_default_device()),
        "flushing of denormal numbers": _flushes(),
        "torch.backends.mkldnn.enabled": torch._C._get_mkldnn_enabled(),
        "torch.backends.mkldnn.deterministic": torch._C._get_mkldnn_deterministic(),
        "torch.backends.nnpack": torch._C._get_nnpack_enabled(),
        "torch.backends.mha.get_fastpath_enabled": backends.mha.get_fastpath_enabled(),
        "torch.backends.opt_einsum.enabled": backends.opt_einsum.enabled,
        "torch.backends.cudnn.enabled": torch._C._get_cudnn_enabled(),
        "torch.backends.cudnn.benchmark": torch._C._get_cudnn_benchmark(),
        "torch.backends.cudnn.deterministic": torch._C._get_cudnn_deterministic(),
        "torch.backends.cudnn.allow_tf32": torch._C._get_cudnn_allow_tf32(),
        "torch.backends.cuda.matmul.allow_tf32": torch._C._get_cublas_allow_tf32(),
    }
    attention = {
        f"torch.backends.cuda.{name}_sdp_enabled": getattr(backends.cuda, f"{name}_sdp_enabled")() for name in SDP
    }
    everywhere = {f"the number of {name}": len(getattr(hooks, name)) for name in HOOKS if hasattr(hooks, name)}
    return found | attention | everywhere


SDP = ("flash", "mem_efficient", "math", "cudnn")
HOOKS = (
    "_global_forward_hooks",
    "_global_forward_pre_hooks",
    "_global_backward_hooks",
    "_global_backward_pre_hooks",
    "_global_module_registration_hooks",
    "_global_parameter_registration_hooks",
    "_global_buffer_registration_hooks",
)


def _flushes() -> bool:
    """Whether numbers that are too small for their type are taken for zero: asked of a product of two that are not."""
    import torch

    return float(torch.tensor(1e-30, dtype=torch.float32) * torch.tensor(1e-10, dtype=torch.float32)) == 0.0


class GlobalSwitches:
    """As they were when this was made."""

    def __init__(self) -> None:
        self._before = switches()

    def check(self, when: str) -> None:
        """Check the switches. Raises AuditFailed, with `when` it was, for one that is another now."""
        for name, now in switches().items():
            if now != self._before[name]:
                raise AuditFailed(f"{when}, {name} is {now}, and was {self._before[name]} before")
