"""What is known of an MLflow run from an interruption to the next start: `tracked.json` in a work folder."""

from pathlib import Path

from pydantic import ValidationError

from dynbench.files import write_atomically
from dynbench.record.folder import work_folder
from dynbench.record.schema import Tracked


def read_state(results: Path, name: str) -> Tracked | None:
    """The state of run `name`; None when there is none, or no readable one."""
    try:
        return Tracked.model_validate_json(_path(results, name).read_bytes())
    except (OSError, ValidationError):
        return None


def write_state(results: Path, name: str, tracked: Tracked) -> None:
    """Raises UserError when it cannot be written."""
    write_atomically(_path(results, name), tracked.model_dump_json().encode())


def _path(results: Path, name: str) -> Path:
    return work_folder(results, name) / "tracked.json"
