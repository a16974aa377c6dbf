from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


def work_folder(results: Path, run_id: str) -> Path:
    """Folder of a run's checkpoints, weights and tracking state; not committed."""
    return results / "work" / run_id


def weights_path(results: Path, run_id: str) -> Path:
    """Where a run's trained weights are."""
    return work_folder(results, run_id) / "model.safetensors"


RECORDS = "records"


def record_path(results: Path, run_id: str) -> Path:
    return results / RECORDS / f"{run_id}.json"


def arrays_path(results: Path, run_id: str) -> Path:
    return results / RECORDS / f"{run_id}.npz"


def latency_arrays_path(results: Path, run_id: str) -> Path:
    """Raw latency samples: `POINT/BATCH/ms`, `POINT/BATCH/dense_ms` and, of static engines, `engines/NAME/BATCH/ms`; in
    milliseconds, float64 (rounds, calls)."""
    return results / RECORDS / f"{run_id}.latency.npz"


PLOTS = "plots"
TABLE = "table.md"


def report_files(results: Path) -> tuple[Path, ...]:
    """What an earlier report has left in `results`."""
    table = results / TABLE
    return (*([table] if table.is_file() else []), *sorted((results / PLOTS).glob("*.*")))
