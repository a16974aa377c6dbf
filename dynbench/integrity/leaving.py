"""Arithmetic outside torch, which the counter cannot see: what leaves for it."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

EXITS = {"numpy", "__array__", "__dlpack__", "data_ptr", "untyped_storage", "storage", "share_memory_"}


class Leaving(TorchFunctionMode):
    """Notes tensors that leave torch. Decisions may be read with item(), bool(), float() and tolist(): `largest` is how
    many floating-point numbers a list may hold, fewer than an image has."""

    def __init__(self, largest: int) -> None:
        super().__init__()
        self._largest = largest
        self.findings: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        tensor = args[0] if args and isinstance(args[0], Tensor) else None
        if tensor is not None and (name in EXITS or (name == "tolist" and self._is_much(tensor))):
            self.findings.append(f"Tensor.{name} of {tuple(tensor.shape)}")
        return func(*args, **(kwargs or {}))

    def _is_much(self, tensor: Tensor) -> bool:
        return tensor.is_floating_point() and tensor.numel() >= self._largest
