"""A stage's loss on one process or on each of several, whose gradients are then averaged.

DistributedDataParallel averages the gradients of what its module's forward computed. A loss may use a model in any way,
so that the module here computes the loss itself. Choices, all of them torch's defaults or what its users usually take:

- The mean of the processes' losses stands for the loss of the whole step. For a mean over images it is the same, to
  rounding; a term that is not (the square of a batch's mean density) is taken of each process's images.
- Batch statistics are of each process's images; running statistics, and all other buffers, are the first process's and
  are sent to the others before each step. SyncBatchNorm is not used: it exists on CUDA only, and would exchange modules
  which plugins know.
- Parameters that a loss leaves without gradient on every process have none, as on one process; where only some
  processes used one, the others count as zero.
- A loss that calls backward itself gets its own process's gradients.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dynbench.process_group import ProcessGroup
from dynbench.stage import Progress

Loss = Callable[[nn.Module, Tensor, Tensor, Progress], Tensor]


class _LossModule(nn.Module):
    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        return self.loss(self.model, x, y, progress)


def shared_loss(
    model: nn.Module, loss: Loss, device: torch.device, processes: ProcessGroup
) -> Callable[[Tensor, Tensor, Progress], Tensor]:
    """Return `loss` of `model` on images (batch, channels, height, width), labels (batch,) and progress.

    On several processes, backward through it leaves the mean of all processes' gradients on each of them; parameters
    and buffers become the first process's.
    """
    if processes.world == 1:
        return partial(loss, model)
    devices = [device] if device.type == "cuda" else None
    return DistributedDataParallel(_LossModule(model, loss), device_ids=devices, find_unused_parameters=True)


def share_buffers(model: nn.Module, processes: ProcessGroup) -> None:
    """Copy the first process's buffers, as the last step has left them, to all processes."""
    if processes.world == 1:
        return
    for buffer in model.buffers():
        whole = buffer.detach().contiguous()
        dist.broadcast(whole, src=0)
        buffer.detach().copy_(whole)
