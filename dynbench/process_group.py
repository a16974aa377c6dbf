"""The processes that train one run together, and what they tell each other."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from dynbench.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


def check_batch(size: int, world: int) -> None:
    """Check that a step of `size` images can be divided evenly among `world` processes.

    Raises UserError when it cannot: their mean gradient would not be that of the step.
    """
    if size % world:
        near = max(1, size // world) * world
        raise UserError(
            f"recipe.batch_size {size} is what all {world} processes take in a step, and cannot be divided evenly; "
            f"take {near}, or another number of processes"
        )


T = TypeVar("T")


@dataclass(frozen=True)
class ProcessGroup:
    """This process is number `rank` of `world`, which all make the same calls in the same order.

    Alone, everything is as it was given.
    """

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes: of several, number 0."""
        return self.rank == 0

    def part(self, count: int, batch: int) -> slice:
        """Return which of `count` images this process evaluates.

        Whole batches of `batch`, so that each image stands beside the same others as on one process; nothing, when
        there are fewer batches than processes before it.
        """
        batches = -(-count // batch)
        start, stop = (min(count, number * batches // self.world * batch) for number in (self.rank, self.rank + 1))
        return slice(start, stop)

    def mean(self, value: "Tensor") -> "Tensor":
        """Return mean of `value` over processes, on each of them."""
        if self.world == 1:
            return value
        import torch.distributed as dist

        total = value.clone()
        dist.all_reduce(total)
        return total / self.world

    def gathered(self, value: T) -> list[T]:
        """Return `value` of every process, by rank, on each of them; tensors in it should be on the CPU."""
        if self.world == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def from_first(self, value: T) -> T:
        """Return the first process's `value`, on each of them."""
        if self.world == 1:
            return value
        import torch.distributed as dist

        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]


ALONE = ProcessGroup()
