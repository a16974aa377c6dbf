"""Images and their labels, divided; and a test split that can be read once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from io import BytesIO

import numpy as np
import torch
from torch import Tensor

from dynbench.data.augment import Normalise
from dynbench.data.catalogue import Shape
from dynbench.data.image_files import Images
from dynbench.errors import AuditFailed, UserError


@dataclass(frozen=True)
class Split:
    """`images` uint8 (n, channels, height, width), in memory or in files, and `labels` int64 (n,)."""

    images: Images
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))

    def take(self, indices: Tensor) -> "Split":
        """Some of the images, in memory."""
        return Split(self.images[indices], self.labels[indices])

    def part(self, indices: Tensor) -> "Split":
        """Some of the images, which stay in files where they are in files."""
        images = self.images[indices] if isinstance(self.images, Tensor) else self.images.part(indices)
        return Split(images, self.labels[indices])


@dataclass(frozen=True)
class RawData:
    """A data set as it lies on disk, before its training images are divided."""

    train: Split
    test: Callable[[], Split]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    validation: Split | None = None
    """What a rule of the data set's own has held out of `train` already."""
    notes: tuple[str, ...] = ()
    """What is unusual about it, a line each."""


class TestSplit:
    """The test split: `read` gives it once and raises after that. One run, one look."""

    __test__ = False  # not a pytest class

    def __init__(self, read: Callable[[], Split]) -> None:
        self._read: Callable[[], Split] | None = read
        self._locked: str | None = None
        self._asked = False

    @contextmanager
    def locked(self, doing: str) -> Iterator[None]:
        """Lock the test split while a plugin runs inside, `doing` something. Raises AuditFailed when it asked."""
        kept, self._read, self._locked = self._read, None, doing
        try:
            yield
        finally:
            self._read, self._locked = kept, None
        if self._asked:
            raise AuditFailed(f"{doing}, the plugin asked for the test split")

    def read(self) -> Split:
        """Return the test images and labels.

        Raises RuntimeError when they were read before in this run, and AuditFailed while it is locked.
        """
        if self._locked is not None:
            self._asked = True
            raise AuditFailed(f"{self._locked}, the plugin asked for the test split")
        if self._read is None:
            raise RuntimeError("the test split was read already in this run; selection belongs to validation")
        read, self._read = self._read, None
        return read()


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
    calibration: Split | None = None
    """Held-out images that a method sets its thresholds on: no figure is read from them. None: it sets none."""

    def with_calibration(self) -> "Data":
        """Return the same with every other validation image, the first among them, set aside for calibration.

        Always the same half, and as many of each class where a data set lists its classes in order.
        """
        numbers = torch.arange(len(self.validation))
        aside, rest = self.validation.part(numbers[::2]), self.validation.part(numbers[1::2])
        return replace(self, validation=rest, calibration=aside)

    @property
    def shape(self) -> Shape:
        """(channels, height, width) of an image."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    def normalise(self, device: torch.device, channels_last: bool = False) -> Normalise:
        """Return the layer that normalises images (batch, channels, height, width), uint8."""
        return Normalise(self.mean, self.std, device, channels_last)


def stored_permutation(name: str, size: int) -> Tensor:
    """Return the fixed permutation of a data set's training images that ships with dynbench."""
    raw = (files("dynbench.data") / "permutations" / f"{name}.npy").read_bytes()
    order = np.load(BytesIO(raw))
    if len(order) != size:
        raise UserError(f"{name} has {size} training images, {len(order)} expected")
    return torch.from_numpy(order.astype(np.int64))


def hold_out(name: str, train: Split, validation: int) -> tuple[Split, Split]:
    """Return (train, validation): the first `validation` images of the stored permutation are held out."""
    if not 0 < validation < len(train):
        raise UserError(f"validation must lie between 1 and {len(train) - 1} images of {name}, got {validation}")
    order = stored_permutation(name, len(train))
    held, kept = order[:validation].sort().values, order[validation:].sort().values
    return train.take(kept), train.take(held)
