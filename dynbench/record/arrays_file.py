"""Per-image arrays as files: NumPy's `.npz`, read without believing what it says of itself.

Such a file is a zip archive that may be encrypted, may unpack to far more than it holds, and whose headers may ask for
objects, which are code, or for more memory than there is.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy

from dynbench.errors import UserError
from dynbench.files import open_bounded, write_atomically

LARGEST_FILE = 2**28
"""Bytes, packed as well as unpacked: of 50,000 test images, thousands for each."""
MOST_ARRAYS = 10_000
SUFFIX = ".npy"
ENCRYPTED = 1
"""Bit of a member's flags."""
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name. Raises UserError when they cannot be written."""
    buffer = BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


def load_arrays(path: Path, *names: str) -> dict[str, np.ndarray]:
    """Read what `save_arrays` wrote; given `names`, only those of them that are there.

    Raises UserError when it is missing, damaged or too large, or what is read is anything but arrays of numbers and
    truth values.
    """
    with open_bounded(path, "per-image arrays", LARGEST_FILE) as file:
        try:
            with ZipFile(file) as archive:
                return dict(_arrays(archive, names))
        except Exception as error:  # a damaged file raises whatever its reader trips over
            said = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"cannot read per-image arrays {path}: {said[:200]}; run it again") from error


def _arrays(archive: ZipFile, names: Collection[str]) -> Iterator[tuple[str, np.ndarray]]:
    members = archive.infolist()
    if len(members) > MOST_ARRAYS or sum(member.file_size for member in members) > LARGEST_FILE:
        raise ValueError(f"more than {MOST_ARRAYS:,} arrays, or than {LARGEST_FILE:,} bytes of them")
    if len({member.filename for member in members}) < len(members):
        raise ValueError("two arrays have one name")
    for member in members:
        _check_member(member)
        name = member.filename.removesuffix(SUFFIX)
        if not names or name in names:
            with archive.open(member) as content:
                yield name, _array(content, member.file_size)  # type: ignore[arg-type]


def _check_member(member: ZipInfo) -> None:
    if not member.filename.endswith(SUFFIX):
        raise ValueError("it holds something other than arrays")
    if member.flag_bits & ENCRYPTED:
        raise ValueError("it is encrypted")
    if member.compress_type not in {ZIP_STORED, ZIP_DEFLATED}:
        raise ValueError("it is packed in another way than NumPy packs")


def _array(content: BinaryIO, size: int) -> np.ndarray:
    """The array in a member of `size` bytes; nothing is allocated that they do not fill."""
    version = npy.read_magic(content)
    if version not in HEADERS:
        raise ValueError(f"version {version} of the format")
    shape, fortran, dtype = HEADERS[version](content)
    if dtype.kind not in "biuf" or dtype.subdtype is not None:
        raise ValueError(f"arrays of {dtype}")
    count = math.prod(shape)
    if min(shape, default=1) < 0 or count * dtype.itemsize != size - content.tell():
        raise ValueError(f"{size} bytes are not an array {shape} of {dtype}")
    data = bytearray(content.read())  # of its own, so that the array can be written to
    return np.frombuffer(data, dtype, count).reshape(shape, order="F" if fortran else "C")
