"""Data sets by name, and what is known of each without reading it. Reports ask here too, so that torch is not imported.

To add one: a line in `DATASETS`, and a module here with the function that reads it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from dynbench.errors import UserError, did_you_mean
from dynbench.suite.schema import DataSpec

if TYPE_CHECKING:
    from dynbench.data.split import RawData


Shape = tuple[int, int, int]
"""(channels, height, width) of an image."""
CLASSES, TRAIN_IMAGES, VAL_IMAGES = 1000, 1_281_167, 50_000
"""Of ILSVRC2012."""
HELD = 10
"""Images of a class of ILSVRC2012 that are held out for validation."""
SIDE = 224
"""Pixels of a side of the crops of images in files, unless the suite says otherwise."""


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set without reading it.

    `training_images` includes the `validation` ones that are held out unless the suite says otherwise. `test_images`
    and `disk_bytes`, of its files, are 0 where nobody knows.
    """

    reader: str
    """`module:function` that gives RawData for a DataSpec; imported when it is wanted."""
    shape: Shape
    num_classes: int
    training_images: int
    validation: int
    test_images: int = 0
    disk_bytes: int = 0
    augment: bool = True
    """Whether random crops and flips keep the label (digits: no)."""
    in_files: bool = False
    """Whether images are cropped when they are read: to any size, then."""
    files: tuple[str, ...] = ()
    """Patterns (as `fnmatch`'s) of its files' published names, which no plugin may open by itself. A copy under another
    name is not known."""
    caveat: str | None = None
    """What an accuracy on it is not, where it is not what it seems; stands beside every such accuracy."""

    @property
    def read(self) -> "Callable[[DataSpec], RawData]":
        reader: Callable[[DataSpec], RawData] = resolve_name(self.reader)
        return reader


_LARGE = (3, SIDE, SIDE)
# Bytes: CIFAR-10's binary files; ILSVRC2012's two archives of images; the sample of 1,000 photographs, about.
DATASETS = {
    "digits": DatasetInfo(
        "dynbench.data.digits:load_digits", (1, 8, 8), 10, 1437, 180, 360, augment=False, files=("digits.csv.gz",)
    ),
    "cifar10": DatasetInfo(
        "dynbench.data.cifar10:load_cifar10",
        (3, 32, 32),
        10,
        50_000,
        5_000,
        10_000,
        184_380_000,
        files=("data_batch_[1-5]", "data_batch_[1-5].bin", "test_batch", "test_batch.bin"),
    ),
    "imagenet": DatasetInfo(
        "dynbench.data.imagenet:load_imagenet",
        _LARGE,
        CLASSES,
        TRAIN_IMAGES,
        HELD * CLASSES,
        VAL_IMAGES,
        154_642_401_280,
        in_files=True,
        files=("*.JPEG",),
    ),
    "imagenet-sample": DatasetInfo(
        "dynbench.data.imagenet:load_sample",
        _LARGE,
        CLASSES,
        CLASSES,
        CLASSES // 10,
        CLASSES,
        34_000_000,
        in_files=True,
        files=("*.JPEG",),
        caveat="one training image a class, not ImageNet accuracy",
    ),
    "imagefolder": DatasetInfo("dynbench.data.imagenet:load_folder", _LARGE, 0, 0, 0, in_files=True),
}


def dataset_info(spec: DataSpec) -> DatasetInfo:
    """Return what a suite's data set is like.

    Raises UserError when dynbench does not know it, or when the suite says of it what cannot be.
    """
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


def folder_validation(classes: int, images: int) -> int:
    """Return how many training images are held out unless the suite says otherwise.

    A tenth of each class, or one image.
    """
    return classes * max(1, images // (10 * max(1, classes)))


def file_patterns() -> tuple[str, ...]:
    """Return the names of all data sets' files, as patterns."""
    return tuple(dict.fromkeys(pattern for info in DATASETS.values() for pattern in info.files))


def caveat(dataset: str) -> str | None:
    """Return what an accuracy on the data set is not.

    None where it is what it seems, or where the data set is not known here.
    """
    return DATASETS[dataset].caveat if dataset in DATASETS else None


def with_caveat(dataset: str) -> str:
    """Return `cifar10`, or `imagenet-sample (one training image a class, not ImageNet accuracy)`."""
    warning = caveat(dataset)
    return f"{dataset} ({warning})" if warning else dataset
