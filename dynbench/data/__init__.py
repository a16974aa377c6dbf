"""Data sets by name, with locked train, validation and test splits."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from dynbench.data.augment import Normalise
from dynbench.data.cifar10 import load_cifar10
from dynbench.data.digits import load_digits
from dynbench.data.split import RawData, Split, TestSplit, hold_out
from dynbench.errors import UserError
from dynbench.registry import did_you_mean
from dynbench.suite.schema import DataSpec

__all__ = ["DATASETS", "Data", "DatasetInfo", "Shape", "Split", "dataset_info", "load_data"]

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set without reading it. `shape` is (channels, height, width) of an image;
    `training_images` includes the `validation` ones that are held out unless the suite says otherwise."""

    load: Callable[[DataSpec], RawData]
    shape: Shape
    num_classes: int
    training_images: int
    validation: int


DATASETS = {
    "digits": DatasetInfo(load_digits, (1, 8, 8), 10, 1437, 180),
    "cifar10": DatasetInfo(load_cifar10, (3, 32, 32), 10, 50_000, 5_000),
}


@dataclass(frozen=True)
class Data:
    """What a run trains on, selects on, and reads once at its end."""

    train: Split
    validation: Split
    test: TestSplit
    mean: tuple[float, ...]
    std: tuple[float, ...]
    num_classes: int
    augment: bool

    @property
    def shape(self) -> Shape:
        """(channels, height, width) of an image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def normalise(self, device: torch.device, channels_last: bool = False) -> Normalise:
        return Normalise(self.mean, self.std, device, channels_last)


def dataset_info(name: str) -> DatasetInfo:
    """A data set by name. Raises UserError when dynbench does not know it."""
    if name not in DATASETS:
        raise UserError(f'unknown data set "{name}"; {did_you_mean(name, DATASETS)}')
    return DATASETS[name]


def load_data(spec: DataSpec) -> Data:
    """Read, check and divide a data set. Raises UserError when it is unknown, missing or damaged."""
    info = dataset_info(spec.name)
    raw = info.load(spec)
    train, validation = hold_out(spec.name, raw.train, spec.validation or info.validation)
    mean, std = spec.mean or raw.mean, spec.std or raw.std
    channels = train.images.shape[1]
    if {len(mean), len(std)} != {channels}:
        raise UserError(f"{spec.name} has {channels} channels, got mean {mean} and std {std}")
    return Data(train, validation, TestSplit(raw.test), mean, std, info.num_classes, raw.augment and spec.augment)
