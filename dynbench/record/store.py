import zlib
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from pydantic import ValidationError

from dynbench.errors import UserError
from dynbench.files import write_atomically
from dynbench.record.folder import RECORDS, arrays_path, latency_arrays_path, record_path
from dynbench.record.schema import SCHEMA_VERSION, Record


def write_record(results: Path, record: Record, arrays: dict[str, np.ndarray] | None = None) -> None:
    """Write the per-image arrays, then the record: a record that is there has its arrays."""
    if arrays:
        _write_arrays(arrays_path(results, record.run_id), arrays)
    content = record.model_dump_json(indent=1).encode() + b"\n"
    write_atomically(record_path(results, record.run_id), content)


def write_latency_arrays(results: Path, run_id: str, arrays: dict[str, np.ndarray]) -> None:
    """Write the raw samples of a run's latency, in place of older ones."""
    _write_arrays(latency_arrays_path(results, run_id), arrays)


def _write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    buffer = BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


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


def find_record(results: Path, run_id: str) -> Record | None:
    """The record of a run, or None."""
    path = record_path(results, run_id)
    return read_record(path) if path.is_file() else None


def read_records(results: Path) -> tuple[Record, ...]:
    """Every record in a results folder, in the order of their files. Raises UserError when there is none."""
    paths = sorted((results / RECORDS).glob("*.json"))
    if not paths:
        raise UserError(f"no records in {results / RECORDS}; `dynbench run SUITE --results {results}` makes them")
    return tuple(read_record(path) for path in paths)


def read_arrays(results: Path, run_id: str) -> dict[str, np.ndarray]:
    """Per-image arrays of a run: `POINT/correct`, `POINT/correct5` (bool), `POINT/macs` (int64), over the test
    split in its own order; and `POINT/audit_logits` (float32, not in older files), of the audited validation images.
    Raises UserError when they are missing or damaged."""
    path = arrays_path(results, run_id)
    try:
        with path.open("rb") as file, np.load(file) as arrays:  # numpy leaves a damaged one open
            return dict(arrays)
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise UserError(f"cannot read per-image arrays {path}: {error}; run it again") from error
