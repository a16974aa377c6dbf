"""What a result was made on: hardware, versions, commit."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

PACKAGES = ("dynbench", "torch", "torchvision", "fvcore", "numpy")


class Machine(BaseModel):
    """Hardware and software of one run. `device` is the one it ran on, e.g. `cpu` or `cuda:0`."""

    model_config = ConfigDict(frozen=True)

    device: str
    device_name: str
    cpu: str
    cores: int
    threads: int
    memory_bytes: int
    system: str
    python: str
    versions: dict[str, str]
    cuda: str | None
    precision: str
    """Of the training, as executed; a wish for bf16 is refused where the hardware would emulate it."""


@cache
def commit() -> str:
    """Commit of the dynbench that runs, `-dirty` when its tree differs, or `unknown` outside a checkout."""
    folder = Path(__file__).parent
    try:
        _git(folder, "ls-files", "--error-unmatch", "machine.py")  # not another repository around us
        return _git(folder, "describe", "--always", "--dirty", "--exclude=*", "--abbrev=40")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def _cpu_name() -> str:
    from dynbench.device import linux_cpu

    if named := linux_cpu().get("model name"):
        return named
    from cpuinfo import get_cpu_info

    return str(get_cpu_info().get("brand_raw") or platform.processor() or "unknown")


def describe_machine(device: str, precision: str) -> Machine:
    """Describe this machine, as a run on `device` sees it."""
    import torch

    on_cuda = device.startswith("cuda")
    return Machine(
        device=device,
        device_name=torch.cuda.get_device_name(device) if on_cuda else _cpu_name(),
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0,
        system=platform.platform(),
        python=platform.python_version(),
        versions={package: found for package in PACKAGES if (found := _version(package))},
        cuda=torch.version.cuda if on_cuda else None,
        precision=precision,
    )
