"""dynbench: the benchmark harness for dynamic inference."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["load"]


def load(results: str | Path) -> "pd.DataFrame":
    """The flat table of a results folder: one row per run and operating point, the columns of
    `dynbench.report.table.COLUMNS`. Raises UserError when there are no records or one is damaged."""
    from dynbench.record import read_records  # noqa: PLC0415  (`import dynbench` stays cheap)
    from dynbench.report.table import flat_table  # noqa: PLC0415

    return flat_table(read_records(Path(results)))
