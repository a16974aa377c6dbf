"""The data that methods are tried on: a part of the digits, which are always there and train in moments."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch

from dynbench.data import Data, Split, load_data
from dynbench.data.split import TestSplit
from dynbench.suite.schema import DataSpec

TRAIN, VALIDATION = 256, 64


@cache
def digits() -> Data:
    """The first training and validation images of scikit-learn's digits."""
    data = load_data(DataSpec(name="digits"))
    train = data.train.take(torch.arange(TRAIN))
    validation = data.validation.take(torch.arange(VALIDATION))
    return replace(data, train=train, validation=validation)


def guarded(data: Data, on_read: Callable[[], None]) -> Data:
    """The data with a test split that calls `on_read` and then gives the validation images: only the harness reads it,
    and in a trial it does not."""

    def read() -> Split:
        on_read()
        return data.validation

    return replace(data, test=TestSplit(read))
