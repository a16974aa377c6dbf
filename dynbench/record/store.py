"""Records and their arrays as files."""

import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from pydantic import ValidationError

from dynbench.errors import UserError
from dynbench.files import write_atomically
from dynbench.record.schema import SCHEMA_VERSION, Record


def encode_record(record: Record) -> bytes:
    """Return the record as its file holds it."""
    return record.model_dump_json(indent=1).encode() + b"\n"


def read_record(path: Path) -> Record:
    """Read one record. Raises UserError when it is damaged or of a newer schema."""
    try:
        return Record.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read record {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UserError(
            f"record {path} is damaged or of another schema than version {SCHEMA_VERSION}: "
            f"{'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}"
        ) from error


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name. Raises UserError when they cannot be written."""
    buffer = BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


def load_arrays(path: Path, *names: str) -> dict[str, np.ndarray]:
    """Read what `save_arrays` wrote; given `names`, only those of them that are there. Raises UserError when it is
    missing or damaged."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:  # numpy leaves a damaged one open
            return {name: arrays[name] for name in names if name in arrays} if names else dict(arrays)
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise UserError(f"cannot read per-image arrays {path}: {error}; run it again") from error
