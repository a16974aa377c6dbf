"""What an executor executes: as the counter sees it, and as it is with no counter that it could notice."""

from torch import Tensor, nn

from dynbench.counter.dispatch import counted
from dynbench.counter.work import Work
from dynbench.errors import AuditFailed
from dynbench.evaluation.execution_trace import trace
from dynbench.evaluation.unseen_images import unseen_images
from dynbench.guards.leaving import leaving
from dynbench.isolate.pulse import alive

PRODUCTS = 0.25
"""Products of element-wise operators, as a share of the whole model's MACs: scales and unfolded BN stay far below."""
ATTEMPTS = 3
"""So often is a trace taken that has more than was counted: what PyTorch traces before it first runs is in it too."""


def audit_unseen(executor: nn.Module, where: str, image: Tensor, whole: int) -> None:
    """Look at what `executor` runs on an image (1, channels, height, width) of which nobody can have kept the answer.

    First with no counter that it could notice, then twice with it. Raises AuditFailed, with `where` it was, when they
    are not the same, when it computes with what cannot be counted, and when element-wise products are many beside the
    `whole` model's MACs.
    """
    seen, macs = _seen_and_counted(executor, where, image)
    for _ in range(ATTEMPTS - 1):
        if seen.macs <= macs:
            break
        seen, macs = _seen_and_counted(executor, where, unseen_images(image))
    if seen.macs != macs:
        raise AuditFailed(
            f"{where}: {macs} MACs were executed where the counter sees them, {seen.macs} on all threads with no "
            "counter on"
        )
    _check_allowed(where, seen)
    if seen.products > PRODUCTS * whole:
        raise AuditFailed(
            f"{where}: element-wise operators multiplied or divided {seen.products} numbers, which are no MACs to the "
            f"counter; the whole model has {whole}"
        )


def _seen_and_counted(executor: nn.Module, where: str, image: Tensor) -> tuple[Work, int]:
    """What the trace saw of one image, and the MACs that were counted of it twice."""
    seen = trace(lambda: executor(image))
    with leaving(image.numel()) as left:
        counts = [executed_macs(executor, image, where)[0] for _ in range(2)]
    if counts[0] != counts[1]:
        raise AuditFailed(f"{where}: {counts[0]} MACs were executed, and {counts[1]} when it came again")
    if left:
        raise AuditFailed(f"{where}: the executor takes numbers out of torch, where nothing is counted: {left[0]}")
    return seen, counts[0]


def _check_allowed(where: str, work: Work) -> None:
    if work.refused:
        raise AuditFailed(
            f"{where}: the executor computes with {work.refused[0]}, of which it is not known what it multiplies; "
            "dynbench/counter lists what may run"
        )


def executed_macs(executor: nn.Module, images: Tensor, where: str = "executor") -> tuple[int, Tensor]:
    """Return MACs that `executor` dispatches on images (batch, channels, height, width), and its logits.

    Raises AuditFailed, with `where` it was, for an operator that may not run.
    """
    alive()
    work, logits = counted(lambda: executor(images))
    _check_allowed(where, work)
    return work.macs, logits
