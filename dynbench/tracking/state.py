"""What is known of an MLflow run from an interruption to the next start: `tracked.json` in a work folder."""

from pydantic import ValidationError

from dynbench.files import write_atomically
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Tracked


def read_state(results: ResultsFolder, name: str) -> Tracked | None:
    """The state of run `name`; None when there is none, or no readable one."""
    try:
        return Tracked.model_validate_json(results.tracking_state(name).read_bytes())
    except (OSError, ValidationError):
        return None


def write_state(results: ResultsFolder, name: str, tracked: Tracked) -> None:
    """Raises UserError when it cannot be written."""
    write_atomically(results.tracking_state(name), tracked.model_dump_json().encode())
