"""Images in batches."""

from torch import Tensor


def in_batches(x: Tensor, size: int = 1) -> list[Tensor]:
    """(n, ...) -> tensors of (size, ...), the last of them shorter."""
    return [x[start : start + size] for start in range(0, len(x), size)]
