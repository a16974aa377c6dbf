"""Compiles the kernels with PyTorch's extension loader, once for each machine, PyTorch and version of the source.

`python -m dynbench.kernels.cpu.build NAME FOLDER FLAG...` compiles them into FOLDER/NAME.so: a process of its own,
because PyTorch's loader also loads what it compiles, from where it compiled it.
"""

import hashlib
import os
import platform
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import torch
from filelock import FileLock
from platformdirs import user_cache_path

from dynbench.device import linux_cpu

SOURCE = Path(__file__).parent / "source"
FLAGS = ("-O3", "-std=c++20", "-fno-math-errno", "-fno-trapping-math")
ARCHITECTURE = "DYNBENCH_NATIVE_ARCH"
"""Environment variable: compiler flags that choose the instruction set, instead of this machine's own."""
CHOICE = "DYNBENCH_KERNELS"
"""Environment variable: `pytorch` leaves the kernels out; `triton` takes those of `dynbench.kernels.triton` on CUDA."""


@cache
def why_not() -> str | None:
    """Load the kernels, compiling them if need be. None when they are there, else why they are not, in a line."""
    if os.environ.get(CHOICE, "native") == "pytorch":
        return f"{CHOICE}=pytorch"
    try:
        torch.ops.load_library(_compiled())  # type: ignore[no-untyped-call]
    except (OSError, subprocess.CalledProcessError) as error:
        return f"the kernels could not be compiled: {_reason(error)}"
    return None


def is_compiled() -> bool:
    """Return whether nothing is left to compile: they are there, or not wanted."""
    return os.environ.get(CHOICE, "native") == "pytorch" or _library().is_file()


def _reason(error: OSError | subprocess.CalledProcessError) -> str:
    """What went wrong, in a line: the compiler's first error if it has one, else the last that was said."""
    said = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line or line.endswith("not found")]
    return (errors or lines[-1:] or ["no message"])[0]


def _compiled() -> Path:
    """The library's file, compiled if it is not there. A killed compilation leaves nothing in its place."""
    library = _library()
    if not library.is_file():
        library.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(library.with_suffix(".lock")):
            if not library.is_file():
                _compile(library.stem, library)
    return library


def _library() -> Path:
    return user_cache_path("dynbench") / "native" / f"{_key()}.so"


def _compile(name: str, library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        command = [sys.executable, "-m", "dynbench.kernels.cpu.build", name, folder, *_flags()]
        subprocess.run(command, capture_output=True, text=True, check=True)
        (Path(folder) / library.name).rename(library)


def _flags() -> list[str]:
    chosen = os.environ.get(ARCHITECTURE)
    native = "-mcpu=native" if platform.machine() in {"arm64", "aarch64"} else "-march=native"
    threads = [] if sys.platform == "darwin" else ["-fopenmp"]  # Apple's compiler has none
    return [*FLAGS, *(chosen.split() if chosen else [native]), *threads]


def _key() -> str:
    """Changes with whatever the library depends on; `-march=native` with what the processor can do."""
    parts = [torch.__version__, platform.python_version(), platform.machine(), *_flags(), _features()]
    parts += [path.read_text() for path in sorted(SOURCE.iterdir())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@cache
def _features() -> str:
    if said := linux_cpu().get("flags"):
        return " ".join(sorted(said.split()))
    from cpuinfo import get_cpu_info

    return " ".join(sorted(get_cpu_info().get("flags", [])))


def _main(name: str, folder: str, *flags: str) -> None:
    from torch.utils.cpp_extension import load

    # ninja is installed beside Python, and that folder need not be in the PATH
    os.environ["PATH"] = os.pathsep.join((os.environ.get("PATH", ""), str(Path(sys.executable).parent)))
    threads = [flag for flag in flags if flag == "-fopenmp"]
    load(
        name=name,
        sources=[str(SOURCE / name) for name in ("operators.cpp", "network.cpp")],
        extra_cflags=list(flags),
        extra_ldflags=threads,
        build_directory=folder,
        is_python_module=False,
    )


if __name__ == "__main__":
    _main(*sys.argv[1:])
