"""The flat table as bytes: CSV, JSON (a list of objects) or Parquet. Values survive each of them."""

import json
from io import BytesIO
from typing import Literal

import pandas as pd

Format = Literal["csv", "json", "parquet"]


def encode(table: pd.DataFrame, to: Format) -> bytes:
    """`table` in a file format; text is UTF-8."""
    return {"csv": _csv, "json": _json, "parquet": _parquet}[to](table)


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()


def _json(table: pd.DataFrame) -> bytes:
    # Not DataFrame.to_json: it rounds to 10 decimals.
    columns = {name: [_plain(value) for value in table[name].tolist()] for name in table.columns}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _plain(value: object) -> object:
    return None if value is pd.NA else value


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()
