"""Where MLflow keeps what we send, and what is known of that from an interruption to the next start."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from dynbench.errors import UserError
from dynbench.files import read_bounded, write_atomically
from dynbench.record.folder import DATABASE, ResultsFolder
from dynbench.record.schema import Tracked

LARGEST_STATE = 2**16
"""Bytes."""


def read_state(results: ResultsFolder, name: str) -> Tracked | None:
    """The state of run `name`; None when there is none, or no readable one."""
    try:
        content = read_bounded(results.tracking_state(name), "state of tracking", LARGEST_STATE)
        return Tracked.model_validate_json(content)
    except (UserError, ValidationError):
        return None


def write_state(results: ResultsFolder, name: str, tracked: Tracked) -> None:
    """Raises UserError when it cannot be written."""
    write_atomically(results.tracking_state(name), tracked.model_dump_json().encode())


_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Location:
    """A tracking store. `uri` is for MLflow. `stored` is the same for records: no password, and a SQLite file
    by its path from the results folder. `file` is that file; its artifacts go beside it."""

    uri: str
    stored: str
    file: Path | None

    @property
    def is_missing(self) -> bool:
        """Whether it is a SQLite file that is not there: committed records come without theirs."""
        return self.file is not None and not self.file.exists()

    @property
    def artifacts(self) -> str | None:
        """File URI of the artifacts folder. None: a server has its own."""
        return (self.file.parent / "mlartifacts").as_uri() if self.file else None


def find_location(results: ResultsFolder, uri: str | None, stored: str | None = None) -> Location:
    """`uri`, else MLFLOW_TRACKING_URI, else where a record says that it is (`stored`), else a SQLite file in
    the results folder."""
    folder = results.path.resolve()
    wanted = uri or os.environ.get("MLFLOW_TRACKING_URI") or _from_stored(stored or _SQLITE + DATABASE, folder)
    if not wanted.startswith(_SQLITE):
        return Location(wanted, without_password(wanted).rstrip("/"), None)
    file = Path(wanted.removeprefix(_SQLITE)).resolve()
    return Location(wanted, _SQLITE + Path(os.path.relpath(file, folder)).as_posix(), file)


def _from_stored(stored: str, folder: Path) -> str:
    if not stored.startswith(_SQLITE):
        return stored
    return f"{_SQLITE}{(folder / stored.removeprefix(_SQLITE)).resolve()}"


def without_password(text: str) -> str:
    """`text`, with the user names and passwords of the addresses in it left out."""
    return re.sub(r"://[^/@\s]*@", "://", text)
