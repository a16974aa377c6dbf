"""Data sets by name, with locked train, validation and test splits."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from dynbench.data.augment import Normalise
from dynbench.data.cifar10 import load_cifar10
from dynbench.data.digits import load_digits
from dynbench.data.imagenet import (
    CLASSES,
    HELD,
    SIDE,
    TRAIN_IMAGES,
    VAL_IMAGES,
    folder_validation,
    load_folder,
    load_imagenet,
    load_sample,
)
from dynbench.data.split import RawData, Split, TestSplit, hold_out
from dynbench.errors import UserError, did_you_mean
from dynbench.suite.schema import DataSpec

__all__ = ["DATASETS", "Data", "DatasetInfo", "Shape", "Split", "dataset_info", "load_data"]

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set without reading it. `shape` is (channels, height, width) of an image;
    `training_images` includes the `validation` ones that are held out unless the suite says otherwise. `test_images`
    and `disk_bytes`, of its files, are 0 where nobody knows."""

    load: Callable[[DataSpec], RawData]
    shape: Shape
    num_classes: int
    training_images: int
    validation: int
    test_images: int = 0
    disk_bytes: int = 0
    in_files: bool = False
    """Whether images are cropped when they are read: to any size, then."""


_LARGE = (3, SIDE, SIDE)
# Bytes: CIFAR-10's binary files; ILSVRC2012's two archives of images; the sample of 1,000 photographs, about.
DATASETS = {
    "digits": DatasetInfo(load_digits, (1, 8, 8), 10, 1437, 180, 360),
    "cifar10": DatasetInfo(load_cifar10, (3, 32, 32), 10, 50_000, 5_000, 10_000, 184_380_000),
    "imagenet": DatasetInfo(
        load_imagenet, _LARGE, CLASSES, TRAIN_IMAGES, HELD * CLASSES, VAL_IMAGES, 154_642_401_280, in_files=True
    ),
    "imagenet-sample": DatasetInfo(
        load_sample, _LARGE, CLASSES, CLASSES, CLASSES // 10, CLASSES, 34_000_000, in_files=True
    ),
    "imagefolder": DatasetInfo(load_folder, _LARGE, 0, 0, 0, in_files=True),
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
    notes: tuple[str, ...] = ()
    """What is unusual about the data as they lie on disk, a line each."""

    @property
    def shape(self) -> Shape:
        """(channels, height, width) of an image."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    def normalise(self, device: torch.device, channels_last: bool = False) -> Normalise:
        return Normalise(self.mean, self.std, device, channels_last)


def dataset_info(spec: DataSpec) -> DatasetInfo:
    """What a suite's data set is like. Raises UserError when dynbench does not know it, or when the suite says of it
    what cannot be."""
    if spec.name not in DATASETS:
        raise UserError(f'unknown data set "{spec.name}"; {did_you_mean(spec.name, DATASETS)}')
    info = DATASETS[spec.name]
    if spec.side is not None:
        if not info.in_files:
            raise UserError(f"data.side: images of {spec.name} are {info.shape[1]} pixels wide and are not cropped")
        info = replace(info, shape=(info.shape[0], spec.side, spec.side))
    return _declared(info, spec)


def _declared(info: DatasetInfo, spec: DataSpec) -> DatasetInfo:
    """With the numbers that the suite declares for a data set that has none of its own."""
    if info.num_classes:
        if spec.classes is not None or spec.training_images is not None:
            raise UserError(
                f"{spec.name} has {info.num_classes} classes; leave out data.classes and data.training_images"
            )
        return info
    if spec.classes is None or spec.training_images is None:
        raise UserError(f"{spec.name} may hold anything: data.classes and data.training_images have to say what")
    held = folder_validation(spec.classes, spec.training_images)
    return replace(info, num_classes=spec.classes, training_images=spec.training_images, validation=held)


def load_data(spec: DataSpec) -> Data:
    """Read, check and divide a data set. Raises UserError when it is unknown, missing or damaged."""
    info = dataset_info(spec)
    raw = info.load(spec)
    train, validation = _divided(raw, spec, info)
    mean, std = spec.mean or raw.mean, spec.std or raw.std
    channels = train.images.shape[1]
    if {len(mean), len(std)} != {channels}:
        raise UserError(f"{spec.name} has {channels} channels, got mean {mean} and std {std}")
    test, augment = TestSplit(raw.test), raw.augment and spec.augment
    return Data(train, validation, test, mean, std, info.num_classes, augment, raw.notes)


def _divided(raw: RawData, spec: DataSpec, info: DatasetInfo) -> tuple[Split, Split]:
    """(train, validation)."""
    if raw.validation is not None:
        return raw.train, raw.validation
    return hold_out(spec.name, raw.train, spec.validation or info.validation)
