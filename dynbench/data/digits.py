"""scikit-learn's digits: 1,797 real 8x8 images of handwritten digits that ship with the package.

Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998 (its test part).
"""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from dynbench.data.split import RawData, Split, stored_permutation
from dynbench.suite.schema import DataSpec

TEST_IMAGES = 360
SIDE = 8


def load_digits(spec: DataSpec) -> RawData:  # noqa: ARG001  (nothing to choose: it is always there)
    """Return the digits as uint8 (n, 1, 8, 8); the last 360 of a stored permutation are the test split."""
    return RawData(
        train=_shuffled(slice(None, -TEST_IMAGES)),
        # Read again when it is asked for: until then, nothing that a plugin can reach holds it.
        test=lambda: _shuffled(slice(-TEST_IMAGES, None)),
        mean=(0.3057,),
        std=(0.3763,),
    )


def _shuffled(part: slice) -> Split:
    table = _table()
    pixels = np.round(table[:, :-1].reshape(-1, 1, SIDE, SIDE) * (255 / 16)).astype(np.uint8)
    everything = Split(torch.from_numpy(pixels), torch.from_numpy(table[:, -1].astype(np.int64)))
    return everything.take(stored_permutation("digits-all", len(everything))[part])


def _table() -> np.ndarray:
    """Return the pixels, 0 to 16, and the label of each image, (images, 65).

    Importing scikit-learn takes longer than a short run, and every run is a process of its own: its file is read
    without it, where it lies where it has always been.
    """
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if file.is_file():
        with gzip.open(file) as unpacked:
            return np.loadtxt(unpacked, delimiter=",")
    from sklearn.datasets import load_digits as sklearn_digits

    bunch = sklearn_digits()
    return np.column_stack([bunch.data, bunch.target])
