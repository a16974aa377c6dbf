"""Images that nobody can have prepared for: drawn where a plugin does not know, or made at the last moment."""

import numpy as np
import torch
from torch import Tensor

from dynbench.plan.run import derived_seed

SHIFT = 1
NOISE = 0.01


def unseen_images(images: Tensor) -> Tensor:
    """Return variants of normalised `images` (n, channels, height, width) that cost about the same.

    Moved by a pixel, flipped at random, and with a little noise, new ones at every call. Does not touch torch's
    generator.
    """
    rng = np.random.default_rng()
    rows, columns = (int(step) for step in rng.integers(-SHIFT, SHIFT + 1, 2))
    moved = images.roll((rows, columns), (2, 3))
    if rng.random() < 0.5:  # noqa: PLR2004  (half)
        moved = moved.flip(3)
    noise = torch.from_numpy(rng.normal(0, NOISE, tuple(images.shape)))
    return moved + noise.to(images)


def drawn(run_id: str, split: str, images: int, count: int) -> list[int]:
    """Return up to `count` different numbers below `images`, at random by the run's id.

    Others for each run and split, and the same ones when that run is looked at again.
    """
    rng = np.random.default_rng(derived_seed(0, "audit", run_id, split))
    return [int(number) for number in rng.permutation(images)[:count]]
