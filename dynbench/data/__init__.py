"""Data sets by name, with locked train, validation and test splits."""

from typing import TYPE_CHECKING

from dynbench.data.catalogue import DATASETS, DatasetInfo, Shape, dataset_info
from dynbench.errors import UserError
from dynbench.suite.schema import DataSpec

if TYPE_CHECKING:
    from dynbench.data.split import Data


__all__ = ["DATASETS", "DatasetInfo", "Shape", "dataset_info", "load_data"]


def load_data(spec: DataSpec) -> "Data":
    """Read, check and divide a data set. Raises UserError when it is unknown, missing or damaged."""
    from dynbench.data.split import Data, TestSplit, hold_out

    info = dataset_info(spec)
    raw = info.read(spec)
    held = spec.validation or info.validation
    train, validation = hold_out(spec.name, raw.train, held) if raw.validation is None else (raw.train, raw.validation)
    mean, std = spec.mean or raw.mean, spec.std or raw.std
    channels = train.images.shape[1]
    if {len(mean), len(std)} != {channels}:
        raise UserError(f"{spec.name} has {channels} channels, got mean {mean} and std {std}")
    test, augment = TestSplit(raw.test), info.augment and spec.augment
    return Data(train, validation, test, mean, std, info.num_classes, augment, raw.notes)
