"""dynbench: the benchmark harness for dynamic inference."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


__all__ = ["load"]


def load(results: str | Path) -> "pd.DataFrame":
    """The flat table of a results folder: one row per run and operating point, the columns of
    `dynbench.analysis.columns.COLUMNS`. Raises UserError when there are no records or one is damaged."""
    from dynbench.analysis.columns import flat_table
    from dynbench.record.folder import ResultsFolder

    return flat_table(ResultsFolder(Path(results)).records())
