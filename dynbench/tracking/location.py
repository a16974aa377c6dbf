"""Where MLflow keeps what we send, and what is known of that from an interruption to the next start."""

import atexit
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from dynbench.errors import UserError
from dynbench.files import read_bounded, write_atomically
from dynbench.record.folder import ARTIFACTS, DATABASE, ResultsFolder
from dynbench.record.schema import Tracked


def read_state(results: ResultsFolder, name: str) -> Tracked | None:
    """Return the state of run `name`; None when there is none, or no readable one."""
    path = results.tracking_state(name)
    try:
        return Tracked.model_validate_json(read_bounded(path, "state of tracking", LARGEST_STATE))
    except (UserError, ValidationError):
        return None


def write_state(results: ResultsFolder, name: str, tracked: Tracked) -> None:
    """Write the state of a run. Raises UserError when it cannot be written."""
    write_atomically(results.tracking_state(name), tracked.model_dump_json().encode())


_SQLITE = "sqlite:///"
LARGEST_STATE = 2**16
"""Bytes."""


@dataclass(frozen=True)
class Location:
    """A tracking store.

    `uri` is for MLflow. `stored` is the same for records: no password, and a SQLite file by its path from the results
    folder. `file` is that file; its artifacts go beside it. `inside`: the results folder when nobody has named the
    place, and nothing may then be written elsewhere.
    """

    uri: str
    stored: str
    file: Path | None
    inside: Path | None = None

    @property
    def is_foreign(self) -> bool:
        """Whether only a record says so, and it is not in the results folder.

        Somebody else's record may say anything, and nothing is sent there.
        """
        return self.inside is not None and not (self.file and self.file.is_relative_to(self.inside))

    @property
    def is_missing(self) -> bool:
        """Whether it is a SQLite file that is not there: committed records come without theirs."""
        return self.file is not None and not self.file.exists()

    @property
    def artifacts(self) -> str | None:
        """File URI of the artifacts folder. None: a server has its own."""
        return (self.file.parent / ARTIFACTS).as_uri() if self.file else None


def find_location(results: ResultsFolder, uri: str | None, stored: str | None = None) -> Location:
    """Return `uri`, else MLFLOW_TRACKING_URI, else where a record says that it is (`stored`).

    Else a SQLite file in the results folder.
    """
    folder = results.path.resolve()
    named = uri or os.environ.get("MLFLOW_TRACKING_URI")
    inside = None if named else folder
    wanted = named or stored or _SQLITE + DATABASE
    if not wanted.startswith(_SQLITE):
        return Location(wanted, without_password(wanted).rstrip("/"), None, inside)
    if named:
        file = Path(wanted.removeprefix(_SQLITE)).resolve()
        return Location(wanted, _relative(file, folder), file)
    if wanted == _SQLITE + DATABASE:
        file = results.database.resolve()
    else:
        file = (folder / wanted.removeprefix(_SQLITE)).resolve()
    return Location(_openable(file), _relative(file, folder), file, inside)


def _relative(file: Path, folder: Path) -> str:
    return _SQLITE + Path(os.path.relpath(file, folder)).as_posix()


def _openable(file: Path) -> str:
    """Return an address of the file that SQLAlchemy and MLflow can open.

    SQLAlchemy takes `?` for the start of options and `%` for an escape, and MLflow makes folders by the text as it
    stands: a file whose path has them is reached through a link.
    """
    if not set(str(file)) & {"?", "%"}:
        return f"{_SQLITE}{file}"
    return f"{_SQLITE}{_link_to(file.parent) / file.name}"


@cache
def _link_to(folder: Path) -> Path:
    """Gone when this process ends."""
    made = Path(tempfile.mkdtemp(prefix="dynbench-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    link = made / "results"
    link.symlink_to(folder)
    return link


def without_password(text: str) -> str:
    """Return `text`, with the user names and passwords of the addresses in it left out."""
    return re.sub(r"://[^/@\s]*@", "://", text)
