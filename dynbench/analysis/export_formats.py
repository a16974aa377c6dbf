"""The formats of `dynbench export`. Nothing heavy is imported: the command line reads their names."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ExportFormat:
    """How the flat table becomes a file. `text`: whether it may go to a terminal; it is UTF-8."""

    encode: "Callable[[pd.DataFrame], bytes]"
    text: bool = True


def _csv(table: "pd.DataFrame") -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()


def _json(table: "pd.DataFrame") -> bytes:
    # Not DataFrame.to_json: it rounds to 10 decimals.
    columns = {name: [_plain(value) for value in table[name].tolist()] for name in table.columns}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _plain(value: object) -> object:
    import pandas as pd

    return None if value is pd.NA else value


def _parquet(table: "pd.DataFrame") -> bytes:
    buffer = BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


FORMATS: Mapping[str, ExportFormat] = {
    "csv": ExportFormat(_csv),
    "json": ExportFormat(_json),
    "parquet": ExportFormat(_parquet, text=False),
}
"""Every format by its name: one more is a line here."""
