"""Image files in folders named for their class, and the rule that orders and divides them.

The rule: a file's place is the SHA-256 of `CLASS/NAME`, classes are numbered in the order of their names. Both are the
same on every machine, in whatever order a file system lists its files; and neither order nor place tells the class.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch

from dynbench.data.decoders import Decoders
from dynbench.data.image_files import ImageFiles
from dynbench.data.split import Split
from dynbench.errors import UserError

SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".webp", ".bmp"})


@dataclass(frozen=True)
class Listed:
    """An image file: its class, its name, and its path below the data set's folder."""

    kind: str
    name: str
    path: str

    @property
    def place(self) -> bytes:
        """By which files are put in order."""
        return sha256(f"{self.kind}/{self.name}".encode()).digest()


def list_images(root: Path, folder: str = ".") -> Iterator[str]:
    """Yield names of the image files that lie in `folder` of `root` itself. Raises UserError when it cannot be read."""
    with _scan(root / folder) as entries:
        yield from (entry.name for entry in entries if Path(entry.name).suffix.lower() in SUFFIXES)


def list_classes(root: Path, folder: str = ".") -> list[Listed]:
    """Return the images `CLASS/NAME` in `folder` of `root`, in no order; hidden folders are left out."""
    with _scan(root / folder) as entries:
        kinds = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    return [
        Listed(kind, name, os.path.normpath(f"{folder}/{kind}/{name}"))
        for kind in kinds
        for name in list_images(root, f"{folder}/{kind}")
    ]


def class_names(files: Iterable[Listed]) -> list[str]:
    """Return the names of the classes in torchvision's order, that of the names."""
    return sorted({file.kind for file in files})


def in_place(files: Iterable[Listed]) -> list[Listed]:
    """Return files in the order of the rule."""
    return sorted(files, key=lambda file: file.place)


def hold_out_of_each(files: Iterable[Listed], held: int) -> tuple[list[Listed], list[Listed]]:
    """Return (kept, held out): the first `held` files of every class, in the order of the rule, are held out.

    Raises UserError when a class has no more than that.
    """
    seen: defaultdict[str, int] = defaultdict(int)
    kept: list[Listed] = []
    out: list[Listed] = []
    for file in in_place(files):
        (out if seen[file.kind] < held else kept).append(file)
        seen[file.kind] += 1
    least = min(seen, key=lambda kind: seen[kind])
    if seen[least] <= held:
        raise UserError(
            f"class {least} has {seen[least]} training images, {held} of each class are held out for validation; "
            "set data.validation to less"
        )
    return kept, out


def make_split(root: Path, files: Sequence[Listed], kinds: Sequence[str], side: int) -> Split:
    """Return the files of `root` as a split, in the order in which they are given; `kinds` numbers the classes."""
    numbers = {kind: number for number, kind in enumerate(kinds)}
    labels = torch.tensor([numbers[file.kind] for file in files], dtype=torch.int64)
    return Split(ImageFiles(Decoders((root, [file.path for file in files]), side)), labels)


def _scan(folder: Path) -> "os._ScandirIterator[str]":
    try:
        return os.scandir(folder)
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror}") from error
