"""A sensitivity scan as a flat table: a row for each layer and ratio, and one for the whole backbone."""

from pathlib import Path

import pandas as pd

from dynbench.files import write_atomically
from dynbench.sensitivity import Scan


def sensitivity_table(scan: Scan) -> pd.DataFrame:
    """Columns layer, number, stage, filters, ratio, removed, top1 (per cent), images; the whole backbone's row comes
    first, without a layer."""
    whole = {"ratio": 0.0, "removed": 0, "top1": scan.whole, "images": scan.images}
    rows = [
        {
            "layer": layer.layer,
            "number": layer.number,
            "stage": layer.stage,
            "filters": layer.filters,
            "ratio": ratio,
            "removed": removed,
            "top1": top1,
            "images": scan.images,
        }
        for layer in scan.layers
        for ratio, removed, top1 in zip(scan.ratios, layer.removed, layer.top1, strict=True)
    ]
    table = pd.DataFrame([*rows, whole])
    return pd.concat([table.iloc[-1:], table.iloc[:-1]]).astype({"number": "Int64", "filters": "Int64"})


def write_csv(scan: Scan, path: Path) -> Path:
    """Returns `path`. Raises UserError when it cannot be written."""
    write_atomically(path, sensitivity_table(scan).to_csv(index=False).encode())
    return path
