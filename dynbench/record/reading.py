"""Reading thousands of records quickly: each once, until its file changes."""

import gc
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dynbench.errors import UserError


class Stamp(NamedTuple):
    """Changes whenever a record is written: each is a new file that replaces the old one."""

    inode: int
    mtime_ns: int
    size: int


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage meanwhile.

    What is read stays: for each few records Python would go through all that it has, torch included, which takes longer
    than the reading.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of the file at `path`; None when there is no such file. Raises UserError."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    return Stamp(found.st_ino, found.st_mtime_ns, found.st_size) if stat.S_ISREG(found.st_mode) else None
