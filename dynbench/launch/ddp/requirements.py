"""What a run on several processes needs, asked for before anything is trained."""

from typing import TYPE_CHECKING

from dynbench.errors import UserError

if TYPE_CHECKING:
    import torch


def check_devices(device: "torch.device", local_world: int) -> None:
    """Raises UserError when there is not a CUDA device for each of the `local_world` processes of this machine."""
    import torch

    if device.type != "cuda":
        return
    if device.index:
        raise UserError(f"device {device} is one device, for {local_world} processes; use --device cuda")
    count = torch.cuda.device_count()
    if count < local_world:
        raise UserError(f"{local_world} processes need as many CUDA devices, this machine has {count}")
