"""The device that a suite asks for."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from dynbench.errors import UserError

Precision = Literal["fp32", "bf16"]


@cache
def linux_cpu() -> Mapping[str, str]:
    """Return what Linux says of the first CPU, by the names that it has for it; nothing on other systems.

    py-cpuinfo, which asks every system, starts a process that takes a second: too long where each run is a process.
    """
    try:
        said = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    lines = (line.partition(":") for line in said.partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


@cache
def _cpu_has_bf16() -> bool:
    """Whether this CPU multiplies in bf16 (AVX512-BF16, AMX, Arm BF16) and does not only emulate it."""
    from cpuinfo import get_cpu_info

    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(get_cpu_info().get("flags", ())))


def usable_precision(wanted: Precision, device: torch.device) -> Precision:
    """Return `wanted`, or fp32 where the device would only emulate bf16."""
    if wanted == "fp32":
        return "fp32"
    has_bf16 = torch.cuda.is_bf16_supported(False) if device.type == "cuda" else _cpu_has_bf16()
    return "bf16" if has_bf16 else "fp32"


def fp32_is_fp32() -> None:
    """Have this process compute fp32 in full, not in TF32.

    PyTorch would convolve fp32 in TF32 on a GPU, of 10 bits, which records call fp32 and the audit takes for another
    result.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def on_device(model: nn.Module, device: torch.device, channels_last: bool) -> nn.Module:
    """Return the model, moved to `device`, its weights in the memory format that a recipe asks for."""
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return model.to(device, memory_format=memory_format)  # type: ignore[call-overload, no-any-return]


def choose_device(wanted: str) -> torch.device:
    """Return the device for `auto` (the first CUDA device, else the CPU), `cpu`, `cuda` or `cuda:N`.

    Raises UserError when absent. In this process fp32 is fp32 from then on.
    """
    fp32_is_fp32()
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    device = torch.device("cuda" if wanted == "auto" else wanted)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= count:
        raise UserError(f"device {wanted} was asked for, but this machine has {count} CUDA devices; use --device cpu")
    return torch.device("cuda", device.index or 0)
