"""Records as files: read only when they are valid."""

from pathlib import Path

from pydantic import ValidationError

from dynbench.errors import UserError
from dynbench.files import read_bounded
from dynbench.record.schema import SCHEMA_VERSION, Record
from dynbench.record.validity import Arrays, array_problems, record_problems

LARGEST_RECORD = 2**26
"""Bytes: a history of a million epochs."""
LONGEST = 300
"""Characters of what is said of a faulty record."""


def encode_record(record: Record) -> bytes:
    """Return the record as its file holds it."""
    return record.model_dump_json(indent=1).encode() + b"\n"


def read_record(path: Path) -> Record:
    """Read one record, without its arrays. Raises UserError when it is damaged, of a newer schema, or not valid."""
    return parse_record(read_bounded(path, "record", LARGEST_RECORD), f"record {path}", path.stem)


def parse_record(content: bytes | str, what: str, name: str | None = None) -> Record:
    """Return the record that a file holds.

    `what` says which one, in errors; `name` is its own without suffix, where that has to be the run's id. Raises
    UserError when it is damaged, of a newer schema, or not valid.
    """
    try:
        record = Record.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "file"
        raise UserError(
            f"{what} is damaged or of another schema than version {SCHEMA_VERSION}: "
            f"{_short(place)}: {_short(str(first['msg']))}"
        ) from error
    problem = next(record_problems(record, record.run_id if name is None else name), None)
    if problem is not None:
        raise UserError(f"{what} is not valid: {_short(problem)}")
    return record


def check_arrays(record: Record, arrays: Arrays, path: Path) -> None:
    """Check the per-image arrays of a finished run, which lie at `path`.

    Raises UserError when they are not what its record says that they are.
    """
    problem = next(array_problems(record, arrays), None)
    if problem is not None:
        raise UserError(f"the per-image arrays {path} are not those of their record: {_short(problem)}; run it again")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."
