"""A table before it is laid out: built once from what was found, rendered for a terminal and in Markdown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Place = Literal["name", "point", "metric", "shared", "figure"]
Tone = Literal["", "good", "warning", "bad"]


@dataclass(frozen=True)
class Brief:
    """How a column is headed in a terminal, line breaks included, and aligned."""

    header: str
    align: Literal["left", "right"] = "right"


@dataclass(frozen=True)
class TableColumn:
    """A column: its header in Markdown, and whether it holds words, which are aligned to the left there.

    A terminal has 80 columns. It shows those with a `brief`, and in its first column what stands at the places "name"
    (whose row is about it), "point" (an operating point of it) and "metric" (one of the point's). What is "shared" by
    all points of a name is said once, beside the name.
    """

    name: str
    words: bool = False
    brief: Brief | None = None
    place: Place = "figure"


@dataclass(frozen=True)
class Row:
    """A cell for each column.

    Neighbours with the same `of` are about the same thing, which a terminal names once. `missing` says why there are no
    figures. `tone`: how the last cell is to be taken.
    """

    cells: tuple[str, ...]
    of: str
    missing: str = ""
    tone: Tone = ""


@dataclass(frozen=True)
class Table:
    """Columns and rows under a title, which may have a second part.

    `notes` explain marks in the cells. Of a `compact` table a terminal shows what has a single row on one line; names
    of an `unbroken` one it does not break into lines.
    """

    title: str
    columns: tuple[TableColumn, ...]
    rows: tuple[Row, ...]
    subtitle: str = ""
    notes: tuple[str, ...] = ()
    compact: bool = False
    unbroken: bool = False

    def at(self, row: Row, *places: Place) -> list[str]:
        """Return the cells of `row` that stand at `places`, as many as there are such columns."""
        return [cell for column, cell in zip(self.columns, row.cells, strict=True) if column.place in places]

    @property
    def has_points(self) -> bool:
        """Whether rows are about operating points of what is named."""
        return self._has("point")

    @property
    def has_metrics(self) -> bool:
        """Whether rows are about metrics of those points."""
        return self._has("metric")

    def _has(self, place: Place) -> bool:
        return any(column.place == place for column in self.columns)


def figures(*headers: str | tuple[str, str]) -> list[TableColumn]:
    """Return columns of numbers, each given by its header, with that for a terminal where it is shown there."""
    given = [(header, None) if isinstance(header, str) else header for header in headers]
    return [TableColumn(name, brief=None if brief is None else Brief(brief)) for name, brief in given]


def filled(cells: Iterable[str], columns: Sequence[TableColumn]) -> tuple[str, ...]:
    """Return `cells` with empty ones for the columns that are left."""
    found = tuple(cells)
    return (*found, *[""] * (len(columns) - len(found)))
