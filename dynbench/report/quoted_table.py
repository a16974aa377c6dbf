"""The papers' own figures beside what was measured: a table of its own, which no measured figure stands in."""

from collections.abc import Iterable, Iterator, Sequence

from dynbench.report.literature import Quoted, quoted_on
from dynbench.report.markdown_table import markdown_table, one_line
from dynbench.report.summary import Setting
from dynbench.report.words import short_macs

HEADERS = ("method", "backbone", "source", "place", "top-1 %", "top-5 %", "MACs", "printed", "unit")
TEXT = {"method", "backbone", "source", "place", "unit"}


def quoted_rows(settings: Iterable[Setting], literature: Sequence[Quoted]) -> list[Quoted]:
    """Of the measured backbones on their data sets, and what else stands in the same tables."""
    measured = list(settings)
    found = []
    for dataset in dict.fromkeys(setting.dataset for setting in measured):
        backbones = {setting.backbone for setting in measured if setting.dataset == dataset}
        rows = quoted_on(dataset, literature)
        tables = {(row.source.paper, row.place) for row in rows if row.backbone in backbones}
        found += [row for row in rows if (row.source.paper, row.place) in tables]
    return found


def quoted_table(rows: Sequence[Quoted]) -> Iterator[str]:
    """As Markdown; nothing where there are no rows."""
    if rows:
        title = "**Quoted from papers, not reproduced: other budgets, counted by other rules**"
        yield f"{title}\n\n{markdown_table(HEADERS, map(_cells, rows), TEXT)}"


def _cells(row: Quoted) -> tuple[str, ...]:
    source = row.source.paper + (f" (arXiv {row.source.arxiv})" if row.source.arxiv else "")
    printed = f"{row.printed:g}" if isinstance(row.printed, float) else str(row.printed)
    accuracies = ("" if one is None else f"{one:.2f}" for one in (row.top1, row.top5))
    cells = (row.method, row.backbone or "", source, row.place, *accuracies, short_macs(row.macs), printed, row.unit)
    return tuple(map(one_line, cells))
