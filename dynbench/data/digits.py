"""scikit-learn's digits: 1,797 real 8x8 images of handwritten digits that ship with the package.

Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998 (its test part).
"""

import numpy as np
import torch

from dynbench.data.split import RawData, Split, stored_permutation
from dynbench.suite.schema import DataSpec

TEST_IMAGES = 360


def load_digits(spec: DataSpec) -> RawData:  # noqa: ARG001  (nothing to choose: it is always there)
    """Digits as uint8 (n, 1, 8, 8); the last 360 of a stored permutation are the test split."""
    return RawData(
        train=_shuffled(slice(None, -TEST_IMAGES)),
        # Read again when it is asked for: until then, nothing that a plugin can reach holds it.
        test=lambda: _shuffled(slice(-TEST_IMAGES, None)),
        mean=(0.3057,),
        std=(0.3763,),
    )


def _shuffled(part: slice) -> Split:
    from sklearn.datasets import load_digits as sklearn_digits

    bunch = sklearn_digits()
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    everything = Split(torch.from_numpy(pixels), torch.from_numpy(bunch.target.astype(np.int64)))
    return everything.take(stored_permutation("digits-all", len(everything))[part])
