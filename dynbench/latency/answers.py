"""The answers of timed calls: what was fast must have been right, and the same as was evaluated."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dynbench.cost import measuring
from dynbench.errors import AuditFailed
from dynbench.evaluation.audit import ROUNDED, TOLERANCE, relative_difference
from dynbench.evaluation.batch_independence import SHARE
from dynbench.latency.checks import Timed


class KeptAnswers:
    """Calls an executor, and keeps what it answered each time, with the batch (batch, channels, height, width)."""

    def __init__(self, executor: nn.Module) -> None:
        self._executor = executor
        self.answers: list[tuple[Tensor, Tensor]] = []

    def __call__(self, x: Tensor) -> Tensor:
        logits: Tensor = self._executor(x)
        self.answers.append((x, logits))
        return logits


def check_answers(timed: Timed, kept: KeptAnswers, batches: Sequence[Tensor]) -> None:
    """Check the answers of timed calls.

    Raises AuditFailed when timed calls gave other logits than `infer` gives those images.
    """
    with measuring(timed.trained.model):
        expected = {id(batch): timed.trained.infer(batch, [timed.point])[0].logits for batch in batches}
    differ: set[tuple[int, int]] = set()
    for batch, logits in kept.answers:
        wanted = expected[id(batch)]
        if logits.shape != wanted.shape:
            raise AuditFailed(_words(timed, len(batch), f"logits of the shape {tuple(logits.shape)}"))
        if not torch.equal(logits, wanted):
            differ |= {(id(batch), index) for index in _others(logits, wanted)}
    if len(differ) > max(ROUNDED, SHARE * sum(map(len, batches))):
        raise AuditFailed(_words(timed, len(batches[0]), f"other logits than infer for {len(differ)} images"))


def _others(logits: Tensor, wanted: Tensor) -> list[int]:
    pairs = enumerate(zip(logits, wanted, strict=True))
    return [index for index, (one, other) in pairs if not relative_difference(one, other) <= TOLERANCE]


def _words(timed: Timed, size: int, what: str) -> str:
    return f'point "{timed.point.name}", batch size {size}: calls that were timed gave {what}'
