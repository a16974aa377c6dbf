"""`python -m dynbench.kernels.cpu.compile NAME FOLDER FLAG...`: compiles the kernels into FOLDER/NAME.so.

A process of its own, because PyTorch's loader also loads what it compiles, from where it compiled it.
"""

import os
import sys
from pathlib import Path

from torch.utils.cpp_extension import load

SOURCE = Path(__file__).parent / "source"


def _main(name: str, folder: str, *flags: str) -> None:
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
