"""One file that says where a run stands: written after each epoch, and within long ones; read to continue."""

from dataclasses import asdict, dataclass, field, fields
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dynbench.errors import UserError
from dynbench.files import write_atomically
from dynbench.process_group import ProcessGroup
from dynbench.recipe.averaging import Averaging


@dataclass(frozen=True)
class Within:
    """After `step` steps of an epoch and `seconds` of training it.

    `totals`: each process's sum of its losses. `random`: each process's states of torch's random generators, the CPU's
    and its device's, uint8.
    """

    step: int
    seconds: float
    totals: list[float]
    random: list[list[Tensor]]

    def total(self, processes: ProcessGroup) -> float:
        """Return the sum of losses that this process continues from.

        With another number of processes it is their mean.
        """
        return (
            self.totals[processes.rank] if len(self.totals) == processes.world else sum(self.totals) / len(self.totals)
        )

    def restore_random(self, device: torch.device, processes: ProcessGroup) -> bool:
        """Put torch's generators where they were; False, and nothing is done, with another number of processes."""
        if len(self.random) != processes.world:
            return False
        cpu, *others = self.random[processes.rank]
        torch.set_rng_state(cpu)
        if device.type == "cuda" and others:
            torch.cuda.set_rng_state(others[0], device)
        return True


def take_within(step: int, seconds: float, total: Tensor, device: torch.device, processes: ProcessGroup) -> Within:
    """Agree among all processes on where they are."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    told = processes.gathered((float(total), states))
    return Within(step, seconds, [total for total, _ in told], [states for _, states in told])


VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """State after `epoch` epochs of stage number `stage`, and so far `within` the next.

    `done` holds the run's records so far, as JSON, `macs` the training MACs of an image in this stage, `macs_by_side`
    those of images of that side in pixels, `averaging` the state of the average of the stage's weights.

    Whole epochs need no state of random numbers: each seeds its own generators from the run's seed and the epoch.
    """

    run_id: str
    stage: int
    epoch: int
    model: dict[str, Any]
    optimizer: dict[str, Any]
    done: str
    within: Within | None = None
    macs: int | None = None
    macs_by_side: dict[int, int] = field(default_factory=dict)
    averaging: dict[str, Any] | None = None


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the run's checkpoint, atomically. Raises UserError when it cannot be written."""
    buffer = BytesIO()
    within = None if checkpoint.within is None else asdict(checkpoint.within)
    torch.save({"version": VERSION, **vars(checkpoint), "within": within}, buffer)
    write_atomically(path, buffer.getvalue())


def read_checkpoint(path: Path, run_id: str) -> Checkpoint | None:
    """Return the run's checkpoint, or None if it has none.

    Raises UserError when the file is damaged or not this run's.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except Exception as error:  # a truncated archive raises whatever its reader trips over
        raise damaged(path) from error
    if not isinstance(content, dict) or content.pop("version", None) != VERSION or content.get("run_id") != run_id:
        raise UserError(f"checkpoint {path} is not one of run {run_id}; delete it to train from the start")
    try:
        within = content.pop("within", None)
        found = Checkpoint(**content, within=None if within is None else Within(**within))
    except TypeError as error:  # other keys
        raise damaged(path) from error
    if not all(isinstance(getattr(found, field.name), _KINDS[field.name]) for field in fields(found)):
        raise damaged(path)
    return found


_KINDS: dict[str, type | tuple[type, ...]] = {
    "run_id": str,
    "stage": int,
    "epoch": int,
    "model": dict,
    "optimizer": dict,
    "done": str,
    "within": (Within, type(None)),
    "macs": (int, type(None)),
    "macs_by_side": dict,
    "averaging": (dict, type(None)),
}


def restore_checkpoint(
    path: Path, checkpoint: Checkpoint, model: nn.Module, optimizer: Optimizer, averaging: Averaging | None
) -> None:
    """Put model, optimizer and average where they were.

    Raises UserError when the checkpoint, which lies at `path`, is of others: that says nothing about the run.
    """
    try:
        model.load_state_dict(checkpoint.model)
        optimizer.load_state_dict(checkpoint.optimizer)
        if averaging is not None and checkpoint.averaging is not None:
            averaging.load_state_dict(checkpoint.averaging)
    except Exception as error:  # whatever the two trip over
        raise damaged(path) from error


def damaged(path: Path) -> UserError:
    """Return what is said of a checkpoint that cannot be used."""
    return UserError(f"checkpoint {path} is damaged; delete it to train this run from its start")
