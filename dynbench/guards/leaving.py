"""Finds numbers that leave torch, where nothing is counted.

Calls on tensors are looked at, as PyTorch functions and, where those are switched off, as calls into C.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from dynbench.guards.side_effects import unwatched

EXITS = frozenset(
    {
        "numpy",
        "__array__",
        "__dlpack__",
        "data_ptr",
        "const_data_ptr",
        "untyped_storage",
        "storage",
        "_typed_storage",
        "share_memory_",
    }
)


class _Functions(TorchFunctionMode):
    def __init__(self, note: Callable[[str, Any], None]) -> None:
        super().__init__()
        self._note = note

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        self._note(getattr(func, "__name__", ""), args[0] if args else None)
        return func(*args, **(kwargs or {}))


@contextmanager
def leaving(largest: int) -> Iterator[list[str]]:
    """Yield the findings of what runs inside, in words.

    Decisions may be read with item(), bool(), float() and tolist(): `largest` is how many floating-point numbers a list
    may hold, fewer than an image has.
    """
    findings: list[str] = []

    def note(name: str, tensor: Any) -> None:
        if isinstance(tensor, Tensor) and (
            name in EXITS or (name == "tolist" and tensor.is_floating_point() and tensor.numel() >= largest)
        ):
            findings.append(f"Tensor.{name} of {tuple(tensor.shape)}")

    def called(frame: FrameType, event: str, function: Any) -> None:  # noqa: ARG001
        if event == "c_call":
            note(getattr(function, "__name__", ""), getattr(function, "__self__", None))

    before: Any = sys.getprofile()  # of a profiler that is written in C, no function
    _profile(called)
    try:
        with _Functions(note):
            yield findings
    finally:
        _profile(before if callable(before) else None)


def _profile(function: Any) -> None:
    with unwatched():  # for a plugin, that is a finding
        sys.setprofile(function)
