"""The timing loop: whole permutations of one fixed subset, the dense backbone's and the method's passes in turn.

In turn by the pass, and not by the call: a server runs one net, whose active weights stay in its caches. Between two
calls of a net that reads more weights than the caches hold, they never would.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from dynbench.isolate.pulse import alive
from dynbench.latency.figures import Samples

Call = Callable[[Tensor], Tensor]

WARM_UP_MS = 50.0
"""Before a pass: by then the threads of whatever ran before have stopped to spin."""
WARM_UP_CALLS = 3


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def once(call: Call, x: Tensor) -> float:
    """Return milliseconds of one call, host side, ending in a synchronisation."""
    synchronise(x.device)
    started = time.perf_counter()
    call(x)
    synchronise(x.device)
    return (time.perf_counter() - started) * 1000


def batches_of(images: Tensor, size: int) -> list[Tensor]:
    """Return whole batches of (size, channels, height, width); what is left over is not timed."""
    return [images[start : start + size].contiguous() for start in range(0, len(images) - size + 1, size)]


def by_pass(
    calls: Sequence[Call],
    batches: Sequence[Tensor],
    rounds: int,
    seed: int,
    between: Callable[[], None] = lambda: None,
) -> list[Samples]:
    """Time every call on every batch, `rounds` times, one whole pass over the batches after another.

    Each round takes the calls in a new order, and each pass the batches, after a warm-up. `between` is called after
    each pass. The caller sets the mode (inference).
    """
    order = np.random.default_rng(seed)
    taken = np.empty((len(calls), rounds, len(batches)))
    for turn in range(rounds):
        for which in order.permutation(len(calls)):
            alive()
            _warm_up(calls[which], batches)
            for index in order.permutation(len(batches)):
                taken[which, turn, index] = once(calls[which], batches[index])
            between()
    return [Samples(times) for times in taken]


def _warm_up(call: Call, batches: Sequence[Tensor]) -> None:
    spent, done = 0.0, 0
    while spent < WARM_UP_MS or done < WARM_UP_CALLS:
        spent += once(call, batches[done % len(batches)])
        done += 1
