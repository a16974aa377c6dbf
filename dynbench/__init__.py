"""dynbench: the benchmark harness for dynamic inference."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from dynbench.module_audit.look import audit_module as audit


__all__ = ["audit", "load"]


def load(results: str | Path) -> "pd.DataFrame":
    """Return the flat table of a results folder.

    One row per run and operating point, the columns of `dynbench.analysis.columns.COLUMNS`. Raises UserError when there
    are no records or one is damaged.
    """
    from dynbench.analysis.columns import flat_table
    from dynbench.record.folder import ResultsFolder

    return flat_table(ResultsFolder(Path(results)).records())


def __getattr__(name: str) -> Any:
    """Return `dynbench.audit`, with torch, when it is first asked for."""
    if name != "audit":
        raise AttributeError(f"module dynbench has no attribute {name}")
    from dynbench.module_audit.look import audit_module

    return audit_module
