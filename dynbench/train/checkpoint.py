"""One file that says where a run stands: written after each epoch, and within long ones; read to go on."""

from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from dynbench.errors import UserError
from dynbench.files import write_atomically
from dynbench.train.within import Within

VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """State after `epoch` epochs of stage number `stage`, and so far `within` the next; `done` holds the run's records
    so far, as JSON, `macs` the training MACs of an image in this stage.

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


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the run's checkpoint, atomically. Raises UserError when it cannot be written."""
    buffer = BytesIO()
    within = None if checkpoint.within is None else asdict(checkpoint.within)
    torch.save({"version": VERSION, **vars(checkpoint), "within": within}, buffer)
    write_atomically(path, buffer.getvalue())


def read_checkpoint(path: Path, run_id: str) -> Checkpoint | None:
    """The run's checkpoint, or None if it has none. Raises UserError when the file is damaged or not this run's."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except Exception as error:  # a truncated archive raises whatever its reader trips over
        raise UserError(f"checkpoint {path} is damaged; delete it to train this run from its start") from error
    if not isinstance(content, dict) or content.pop("version", None) != VERSION or content.get("run_id") != run_id:
        raise UserError(f"checkpoint {path} is not one of run {run_id}; delete it to train from the start")
    within = content.pop("within", None)
    return Checkpoint(**content, within=None if within is None else Within(**within))
