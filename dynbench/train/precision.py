"""bf16 where the hardware computes in it."""

from functools import cache
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]


@cache
def _cpu_has_bf16() -> bool:
    """Whether this CPU multiplies in bf16 (AVX512-BF16, AMX, Arm BF16) and does not only emulate it."""
    from cpuinfo import get_cpu_info  # noqa: PLC0415  (asks the operating system)

    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(get_cpu_info().get("flags", ())))


def usable_precision(wanted: Precision, device: torch.device) -> Precision:
    """`wanted`, or fp32 where the device would only emulate bf16."""
    if wanted == "fp32":
        return "fp32"
    has_bf16 = torch.cuda.is_bf16_supported(False) if device.type == "cuda" else _cpu_has_bf16()
    return "bf16" if has_bf16 else "fp32"
