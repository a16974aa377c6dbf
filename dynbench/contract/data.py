"""The data that methods are tried on: a part of the digits, which are always there and train in moments."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import torch

from dynbench.contract.watch import opened_files
from dynbench.data import Data, Split, load_data
from dynbench.data.split import TestSplit
from dynbench.suite.schema import DataSpec

TRAIN, VALIDATION = 256, 64


@dataclass(frozen=True)
class Trial:
    """Data, and the files that they lie in: nobody but the harness opens those."""

    data: Data
    files: frozenset[str] = frozenset()

    def guarded(self, on_read: Callable[[], None]) -> Data:
        """The data with a test split that calls `on_read` and then gives the validation images: nobody but the harness
        reads it, and in a trial it does not."""

        def read() -> Split:
            on_read()
            return self.data.validation

        return replace(self.data, test=TestSplit(read))


@cache
def digits() -> Trial:
    """The first training and validation images of scikit-learn's digits."""
    load_data(DataSpec(name="digits"))  # imports what reads them, so that only data are opened now
    with opened_files() as opened:
        data = load_data(DataSpec(name="digits"))
    train = data.train.take(torch.arange(TRAIN))
    validation = data.validation.take(torch.arange(VALIDATION))
    return Trial(replace(data, train=train, validation=validation), frozenset(opened.paths))
