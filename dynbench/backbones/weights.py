"""Reading and writing weights: safetensors, or torch files with `weights_only`.

In place of a file that is read stands a name of torchvision's, as `ResNet50_Weights.IMAGENET1K_V2`, where there is no
such file.
"""

import hashlib
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from dynbench.backbones.published import is_name, published_file, published_sha256
from dynbench.errors import UserError
from dynbench.files import open_bounded, write_atomically

LARGEST = 2**32
"""Bytes of a weight file."""


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a weight file; of a name of torchvision's, the digits that are published.

    Raises UserError when it cannot be read, or is not such a name.
    """
    if is_name(path):
        return published_sha256(str(path))
    with open_bounded(path, "weights", LARGEST) as file:
        try:
            return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UserError(f"cannot read weights {path}: {error.strerror}") from error


def _read(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        return load_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the pickle's protocol; what counts is whether it loads
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    return loaded if isinstance(loaded, dict) else {}


def read_weights(path: Path) -> dict[str, Tensor]:
    """State dict of a safetensors or torch file, unwrapped from `state_dict` and `module.`.

    Raises UserError when the file is missing, truncated, or holds something other than tensors.
    """
    path = published_file(str(path)) if is_name(path) else path
    if path.exists():
        open_bounded(path, "weights", LARGEST).close()
    try:
        loaded = _read(path)
    except FileNotFoundError as error:
        raise UserError(f"no weights at {path}") from error
    except pickle.UnpicklingError as error:  # torch's own text advises to load it anyway
        raise UserError(
            f"weights {path} hold more than tensors, or are not a weight file; code in them is not run: save the "
            "state dict alone"
        ) from error
    except Exception as error:  # a damaged file raises whatever its reader trips over
        raise UserError(f"weights {path} are damaged or not a weight file: {_first_line(error)}") from error
    state = loaded.get("state_dict", loaded)
    items = state.items() if isinstance(state, dict) else ()
    tensors = {str(key).removeprefix("module."): value for key, value in items if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"weights {path} hold no tensors")
    return tensors


def load_weights(module: nn.Module, path: Path) -> None:
    """Load the weights at `path` into `module`; every key and shape must match. Raises UserError otherwise."""
    state = read_weights(path)
    mine = module.state_dict()
    # Old checkpoints lack BN's batch counters, which evaluation and our training never read.
    missing = sorted(key for key in mine.keys() - state.keys() if not key.endswith("num_batches_tracked"))
    surplus = sorted(state.keys() - mine.keys())
    shapes = sorted(k for k in mine.keys() & state.keys() if mine[k].shape != state[k].shape)
    for problem, keys in (("lack", missing), ("have unknown", surplus), ("have other shapes in", shapes)):
        if keys:
            raise UserError(f"weights {path} do not fit the backbone: they {problem} {keys[0]} ({len(keys)} such keys)")
    module.load_state_dict(state, strict=False)


def save_weights(module: nn.Module, path: Path) -> None:
    """Write the module's state as safetensors, atomically. Shared parameters are stored under each of their names."""
    # Copied, because safetensors refuses tensors that share memory.
    state = {key: value.clone(memory_format=torch.contiguous_format) for key, value in module.state_dict().items()}
    write_atomically(path, save(state))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
