"""Whether a model is still the one that was trained."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dynbench.errors import AuditFailed


def fingerprint(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and every bit of `tensors`."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def kept(model: nn.Module, doing: str) -> Iterator[None]:
    """Raises AuditFailed when the model's weights or buffers are others afterwards."""
    before = dict(model.state_dict())
    prints = {name: fingerprint({name: tensor}) for name, tensor in before.items()}
    yield
    after = dict(model.state_dict())
    changed = [name for name, old in prints.items() if name not in after or fingerprint({name: after[name]}) != old]
    changed += [name for name in after if name not in prints]
    if changed:
        raise AuditFailed(f"{doing}, the model's weights changed: {', '.join(changed[:3])}")
