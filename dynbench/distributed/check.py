"""What a run on several processes needs, asked for before anything is trained."""

from typing import TYPE_CHECKING

from dynbench.errors import UserError

if TYPE_CHECKING:
    import torch


def check_batch(size: int, world: int) -> None:
    """Raises UserError when a step of `size` images cannot be divided evenly among `world` processes: their mean
    gradient would not be that of the step."""
    if size % world:
        near = max(1, size // world) * world
        raise UserError(
            f"recipe.batch_size {size} is what all {world} processes take in a step, and cannot be divided evenly; "
            f"take {near}, or another number of processes"
        )


def check_devices(device: "torch.device", local_world: int) -> None:
    """Raises UserError when there is not a CUDA device for each of the `local_world` processes of this machine."""
    import torch  # noqa: PLC0415

    if device.type != "cuda":
        return
    if device.index:
        raise UserError(f"device {device} is one device, for {local_world} processes; use --device cuda")
    count = torch.cuda.device_count()
    if count < local_world:
        raise UserError(f"{local_world} processes need as many CUDA devices, this machine has {count}")
