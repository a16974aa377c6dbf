"""Files that are either whole or not there, and those of others, which may be anything."""

import errno
import os
import stat
import tempfile
from io import BufferedReader
from pathlib import Path

from dynbench.errors import UserError


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step, also across a crash.

    Raises UserError when it cannot be written (permissions, a full disk); what was there before then stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _cannot_write(path, error) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def open_bounded(path: Path, what: str, most: int) -> BufferedReader:
    """Open the file at `path` to be read.

    `what` it should be is named in errors. Raises UserError when there is none, when it is larger than `most` bytes,
    and when it is no file: a folder, a pipe or a device, at which one might wait for ever.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait to be opened
        found = os.fstat(handle)
    except (OSError, ValueError) as error:  # a NUL in a path is a ValueError
        raise UserError(f"cannot read {what} {path}: {getattr(error, 'strerror', None) or error}") from error
    reason = _no_file(found.st_mode) or (_too_large(found.st_size, most) if found.st_size > most else "")
    if reason:
        os.close(handle)
        raise UserError(f"cannot read {what} {path}: {reason}")
    return os.fdopen(handle, "rb")


def read_bounded(path: Path, what: str, most: int) -> bytes:
    """Return what the file at `path` holds. Raises UserError as `open_bounded` does, and when it cannot be read."""
    with open_bounded(path, what, most) as file:
        try:
            content = file.read(most + 1)  # it may be growing
        except OSError as error:
            raise UserError(f"cannot read {what} {path}: {error.strerror or error}") from error
    if len(content) > most:
        raise UserError(f"cannot read {what} {path}: {_too_large(len(content), most)}")
    return content


def _no_file(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return os.strerror(errno.EISDIR)
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return "" if stat.S_ISREG(mode) else f"it is {kinds.get(stat.S_IFMT(mode), 'a device')}, not a file"


def _too_large(size: int, most: int) -> str:
    return f"it has {size:,} bytes, more than the limit of {most:,}"


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path}: {error.strerror or error}")
