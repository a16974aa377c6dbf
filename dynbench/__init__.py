"""dynbench: the benchmark harness for dynamic inference."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from torch import Tensor, nn

    from dynbench.module_audit.report import AuditReport


__all__ = ["audit", "load"]


def audit(
    module: "nn.Module", images: "Tensor", dense: "nn.Module | None" = None, batch_sizes: "Sequence[int]" = (1, 32)
) -> "AuditReport":
    """Say what any module executes on `images` (n, channels, height, width), normalised as it wants them: MACs of each
    image, whether they differ, whether masks are skips, and what is saved on the clock beside `dense`.

    Raises AuditFailed for what cannot be counted, as `dynbench.module_audit` says.
    """
    from dynbench.module_audit.look import audit_module

    return audit_module(module, images, dense, batch_sizes)


def load(results: str | Path) -> "pd.DataFrame":
    """The flat table of a results folder: one row per run and operating point, the columns of
    `dynbench.analysis.columns.COLUMNS`. Raises UserError when there are no records or one is damaged."""
    from dynbench.analysis.columns import flat_table
    from dynbench.record.folder import ResultsFolder

    return flat_table(ResultsFolder(Path(results)).records())
