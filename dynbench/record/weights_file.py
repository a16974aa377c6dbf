"""Trained weights as single files that say of which run they are: safetensors, with the run's record in the file."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from dynbench.backbones.weights import LARGEST, read_weights
from dynbench.errors import UserError
from dynbench.files import open_bounded, write_atomically
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Record
from dynbench.record.store import parse_record

KEY = "dynbench.record.schema"
LIMIT_MB = 50
"""Of a file, in 10^6 bytes: what release pages and mail take without asking."""


def release(results: ResultsFolder, record: Record, folder: Path) -> Path:
    """Write `folder`/RUN_ID.safetensors.

    Raises UserError when the run has no weights, or they are larger than `LIMIT_MB`.
    """
    source = results.weights(record.run_id)
    weights = read_weights(source)
    # Where MLflow has it is nobody else's concern, and may hold a server's address.
    content = save(weights, {KEY: record.model_copy(update={"tracked": None}).model_dump_json()})
    if len(content) > LIMIT_MB * 10**6:
        raise UserError(
            f"{record.run_id}: its weights would be {len(content) / 1e6:.1f} MB, and a file of {LIMIT_MB} MB is the "
            "limit; name smaller runs with --run"
        )
    path = folder / f"{record.run_id}.safetensors"
    write_atomically(path, content)
    return path


def released_record(path: Path) -> Record:
    """Return the record in a file that `release` wrote. Raises UserError when there is none."""
    open_bounded(path, "weights", LARGEST).close()
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(KEY)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read weights {path}: {error}") from error
    if text is None:
        raise UserError(f"{path} does not say of which run it is; give the run's record, and this as --weights")
    return parse_record(text, f"the record in {path}")
