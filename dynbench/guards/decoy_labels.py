"""Labels that are out of reach while a plugin answers: made-up ones stand in their place.

Code that looks at them, through the frames that called it say, gives the made-up answers: that costs accuracy, and
shows.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from scipy.special import bdtrc  # scipy.stats, which has the distribution, takes long to import
from torch import Tensor

from dynbench.errors import AuditFailed

CHANCE = 1e-9
"""Below this probability an agreement with made-up labels is no chance."""


@contextmanager
def made_up(labels: Tensor, classes: int) -> Iterator[Tensor]:
    """Overwrite `labels` (n,) in place, each by another class drawn at random, and yield a copy of these.

    The true ones are put back at the end.
    """
    truth = labels.clone()
    # Not torch's generator: training must draw the same numbers with and without this.
    drawn = np.random.default_rng().integers(1, max(classes, 2), len(labels))
    labels.add_(torch.from_numpy(drawn).to(labels)).remainder_(max(classes, 2))
    try:
        yield labels.clone()
    finally:
        labels.copy_(truth)


def check_not_copied(answers: Tensor, truth: Tensor, false: Tensor, classes: int, doing: str) -> None:
    """Check that answers are not copied labels.

    Raises AuditFailed when too many of the wrong `answers` are the made-up label `false`; all (n,).

    A wrong answer of a method that has not seen them is any of the `classes - 1` wrong ones, so that agreements are
    binomially distributed with p = 1 / (classes - 1).
    """
    wrong = int((answers != truth).sum())
    agree = int((answers == false).sum())
    if classes > 2 and agree and bdtrc(agree - 1, wrong, 1 / (classes - 1)) < CHANCE:  # noqa: PLR2004
        raise AuditFailed(
            f"{doing}: {agree} of {wrong} wrong answers are labels that the harness had made up; infer looks at labels"
        )
