"""Where a report's files are."""

from pathlib import Path

PLOTS = "plots"
TABLE = "table.md"


def report_files(results: Path) -> tuple[Path, ...]:
    """What an earlier report has left in `results`."""
    table = results / TABLE
    return (*([table] if table.is_file() else []), *sorted((results / PLOTS).glob("*.*")))
