"""What is said about the kernels: that they are being compiled, and why executors are slow without them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def prepare_kernels(console: "Console", device: str) -> None:
    """Load the kernels, which compiles them on the first use on a machine; on CUDA there are none."""
    from dynbench.native.build import is_compiled, why_not  # noqa: PLC0415

    if device != "cpu":
        return
    if not is_compiled():
        console.print("compiling the kernels: half a minute, once on a machine", markup=False)
    if reason := why_not():
        console.print(f"executors run on plain PyTorch, which is slow: {reason}", markup=False, soft_wrap=True)
