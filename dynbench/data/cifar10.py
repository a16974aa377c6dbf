"""CIFAR-10 (Krizhevsky 2009): both on-disk layouts, checked by hash, or torchvision's download."""

import hashlib
import os
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dynbench.data.split import RawData, Split
from dynbench.errors import UserError
from dynbench.files import read_bounded
from dynbench.suite.schema import DataSpec

# SHA-1 of the original binary version's files.
BINARY_SHA1 = {
    "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
    "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
    "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
    "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
    "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
    "test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c",
}
# MD5 of the original Python version's files, as torchvision publishes them.
PYTHON_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
RECORD_BYTES = 1 + 3 * 32 * 32
LARGEST_SHEET = 2**26
"""Bytes."""
WHAT_TO_DO = "delete it to download it again, or put a complete copy there"


@dataclass(frozen=True)
class Layout:
    """One of the two layouts: where its files are and what they hash to."""

    folder: str
    algorithm: str
    hashes: dict[str, str]

    def at(self, root: Path) -> Path | None:
        """Return the folder with this layout's files: `root` itself or the folder in it that bears the usual name."""
        candidates = (root / self.folder, root)
        return next((c for c in candidates if any((c / name).is_file() for name in self.hashes)), None)

    def read(self, folder: Path, name: str) -> bytes:
        """Return one file's content. Raises UserError when it is missing or does not have the published hash."""
        path = folder / name
        try:
            content = read_bounded(path, "images", LARGEST_SHEET)
        except UserError as error:
            raise UserError(f"CIFAR-10 is incomplete: {error}; {WHAT_TO_DO}") from error
        if hashlib.new(self.algorithm, content, usedforsecurity=False).hexdigest() != self.hashes[name]:
            raise UserError(f"CIFAR-10 is damaged: {path} does not have its published hash; {WHAT_TO_DO}")
        return content


BINARY = Layout("cifar-10-batches-bin", "sha1", BINARY_SHA1)
PYTHON = Layout("cifar-10-batches-py", "md5", PYTHON_MD5)


def _decode_binary(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, RECORD_BYTES)
    return records[:, 1:], records[:, 0]


def _decode_python(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    batch = pickle.loads(content, encoding="latin1")
    return np.asarray(batch["data"], dtype=np.uint8), np.asarray(batch["labels"])


def _decode(layout: Layout, contents: Iterable[bytes]) -> Split:
    decode = _decode_binary if layout is BINARY else _decode_python
    parts = [decode(content) for content in contents]
    images = np.concatenate([pixels for pixels, _ in parts]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([labels for _, labels in parts]).astype(np.int64)
    return Split(torch.from_numpy(images), torch.from_numpy(labels))


def _download(root: Path) -> None:
    """Fetch the Python version through torchvision, which checks the archive's hash."""
    from torchvision.datasets import CIFAR10

    try:
        CIFAR10(str(root), download=True)
    except Exception as error:  # urllib, ssl, tarfile, OSError: whatever a download may raise
        raise UserError(
            f"CIFAR-10 is not in {root} and could not be downloaded ({error}); put cifar-10-batches-py or "
            "cifar-10-batches-bin there, or name the folder that holds it with --data"
        ) from error


def _locate(root: Path) -> tuple[Layout, Path] | None:
    found = ((layout, layout.at(root)) for layout in (BINARY, PYTHON))
    return next(((layout, folder) for layout, folder in found if folder is not None), None)


def load_cifar10(spec: DataSpec) -> RawData:
    """CIFAR-10 from `spec.root`, else the folder in DYNBENCH_DATA, else `data`; downloaded when it is not there.

    Raises UserError when it is absent and cannot be downloaded, or when a file's hash is wrong.
    """
    root = spec.root or Path(os.environ.get("DYNBENCH_DATA", "data"))
    found = _locate(root)
    if found is None:
        _download(root)
        found = _locate(root)
    if found is None:
        raise UserError(f"CIFAR-10 was downloaded to {root} but its files are not there")
    layout, folder = found
    # The test file is checked with the others: after hours of training it would be late to find it damaged.
    *train, test = [layout.read(folder, name) for name in layout.hashes]
    return RawData(
        train=_decode(layout, train),
        test=lambda: _decode(layout, [test]),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
    )
