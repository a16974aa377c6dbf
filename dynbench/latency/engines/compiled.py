"""torch.compile with freezing (what TORCHINDUCTOR_FREEZING=1 asks for).

Weights become constants, which Inductor lays out for its kernels once. Needs a C++ compiler on the CPU and Triton on
CUDA.
"""

import torch
from torch import Tensor, nn

from dynbench.latency.engines.engine import Call, Engine


class TorchCompile(Engine):
    """`torch.compile` with freezing."""

    name = "torch.compile"

    def version(self) -> str:
        return torch.__version__

    def prepare(self, net: nn.Module, example: Tensor, threads: int) -> Call:  # noqa: ARG002
        import torch._inductor.config  # seconds: only a run that times it waits for it

        torch.compiler.reset()  # a second shape would otherwise be compiled with a dynamic batch
        # On CUDA single images are bound by launches, so a deployment uses CUDA graphs.
        mode = "reduce-overhead" if example.is_cuda else None
        compiled: Call = torch.compile(net, mode=mode, dynamic=False)
        with torch._inductor.config.patch(freezing=True), torch.inference_mode():
            compiled(example)
        return compiled
