"""What was reached, what it cost to train, how it stands against its controls, and what papers print: as tables."""

from collections.abc import Iterator, Mapping, Sequence

from dynbench.analysis.analysis import Analysis
from dynbench.analysis.controls import Comparison
from dynbench.analysis.curves import CurveComparison
from dynbench.analysis.literature import Quoted
from dynbench.analysis.summary import ConfigurationRecords, PointSummary, Setting
from dynbench.analysis.words import (
    accuracy,
    compared_names,
    control_name,
    controls_title,
    epochs,
    mark_meanings,
    marks,
    over_seeds,
    p_values,
    setting_title,
    short_macs,
    spent,
)
from dynbench.report.layout import Brief, Row, Table, TableColumn, figures, filled

METHOD = TableColumn("method", words=True, place="name")
POINT = TableColumn("point", words=True, place="point")

RESULTS = (
    METHOD,
    POINT,
    TableColumn("width", brief=Brief("width"), place="shared"),
    TableColumn("epochs", brief=Brief("epochs"), place="shared"),
    *figures(
        "seeds",
        ("test top-1 %", "test\ntop-1 %"),
        "test top-5 %",
        ("mean MACs", "mean\nMACs"),
        ("% of dense", "% of\ndense"),
        ("p95 MACs", "p95\nMACs"),
        ("gates MACs", "gates\nMACs"),
        ("audited", "audited"),
    ),
)
QUOTED_BESIDE = tuple(figures("quoted top-1 %", "quoted MACs"))

Answered = Mapping[tuple[str, str], Quoted]
"""The quoted row that a configuration (its key) answers at an operating point."""


def results_table(found: Analysis, setting: Setting, quoted: Answered | None = None) -> Table:
    """Return the operating points of a setting; one row for what failed altogether.

    `quoted`: what papers print, in columns of its own.
    """
    columns = RESULTS if quoted is None else (*RESULTS, *QUOTED_BESIDE)
    chosen = found.settings[setting]
    rows = tuple(
        Row(filled(cells, columns), configuration.key, "" if configuration.points else "failed")
        for configuration in chosen
        for cells in _result_cells(configuration, found.names.whole(configuration.run), quoted or {})
    )
    return Table(setting_title(setting, chosen), columns, rows, compact=True)


def _result_cells(configuration: ConfigurationRecords, label: str, quoted: Answered) -> Iterator[tuple[str, ...]]:
    width = f"{configuration.run.built.width:.3g}"
    shared = (width, epochs(configuration), str(len(configuration.finished)))
    if not configuration.points:
        yield (label, "failed", *shared)
    for point in configuration.points:
        row = quoted.get((configuration.key, point.name))
        printed = () if row is None else (f"{row.top1:.2f}", short_macs(row.macs))
        yield (label, point.name, *shared, *_reached(point), *printed)


def _reached(point: PointSummary) -> tuple[str, ...]:
    return (
        accuracy(point.test_top1),
        accuracy(point.test_top5),
        short_macs(point.macs.mean),
        f"{100 * point.of_dense:.1f}",
        short_macs(point.macs_p95),
        short_macs(point.macs_gates),
        "yes" if point.audited else "no",
    )


BUDGET = (
    METHOD,
    *figures(
        ("epochs by stage", "epochs\nby stage"),
        ("epochs", "all\nepochs"),
        ("pretraining MACs", "pretraining\nMACs"),
        ("training MACs", "all training\nMACs"),
    ),
)


def budget_table(found: Analysis, setting: Setting) -> Table:
    """Return what each run of a setting cost, without those that failed."""
    chosen = [configuration for configuration in found.settings[setting] if configuration.budget]
    rows = tuple(Row((found.names.whole(c.run), *spent(c.budget)), c.key) for c in chosen if c.budget)
    return Table("Budget of each run, pretraining + own stages", BUDGET, rows)


CONTROLS = (
    METHOD,
    POINT,
    TableColumn("top-1 %"),
    TableColumn("control", words=True, brief=Brief("control\n ")),
    *figures(
        ("difference", "differ-\nence"),
        ("95 % interval", "95 %\ninterval"),
        "over seeds",
        ("McNemar p", "McNemar\np"),
    ),
    TableColumn("MACs ratio", brief=Brief("MACs\nratio", "left")),  # its marks would put it out of line
)


def controls_table(comparisons: Sequence[Comparison]) -> Table:
    """Tabulate every dynamic operating point against the nearest static controls, and how near those are."""
    name_of = compared_names(comparisons)
    rows = (Row(_control_cells(one, name_of(one)), one.point.configuration.key) for one in comparisons)
    return Table(controls_title(comparisons), CONTROLS, tuple(rows), notes=tuple(mark_meanings(comparisons)))


def _control_cells(comparison: Comparison, name: str) -> tuple[str, ...]:
    return (
        name,
        comparison.point.name,
        f"{comparison.point.test_top1.mean:.2f}",
        control_name(comparison.control.configuration),
        f"{comparison.difference:+.2f}",
        f"{comparison.low:+.2f} to {comparison.high:+.2f}",
        over_seeds(comparison),
        p_values(comparison),
        f"{comparison.macs_ratio:.2f}{marks(comparison)}",
    )


CURVES = (
    METHOD,
    TableColumn("controls", words=True),
    *figures("from MACs", "to MACs", "mean difference", "95 % interval", "over seeds"),
    TableColumn("verdict", words=True),
)


def curves_table(curves: Sequence[CurveComparison]) -> Table:
    """Tabulate whole curves of operating points against those of static nets."""
    title = "Along the curve, against the static nets' curve over the MACs that both reach; points of top-1, a mean"
    return Table(title, CURVES, tuple(Row(_curve_cells(one), one.configuration.key) for one in curves))


def _curve_cells(one: CurveComparison) -> tuple[str, ...]:
    width = one.seeds.half_width
    return (
        one.configuration.run.label,
        f"{one.control}, {len(one.controls)} nets",
        short_macs(one.start),
        short_macs(one.end),
        f"{one.difference:+.2f}",
        f"{one.low:+.2f} to {one.high:+.2f}",
        "" if width is None else f"{one.seeds.mean:+.2f} ±{width:.2f}",
        {"better": "above", "worse": "below", "not shown": "no difference shown"}[one.outcome],
    )


QUOTED = (
    METHOD,
    TableColumn("backbone", words=True),
    TableColumn("source", words=True),
    TableColumn("place", words=True),
    *figures("top-1 %", "top-5 %", "MACs", "printed"),
    TableColumn("unit", words=True),
)


def quoted_table(rows: Sequence[Quoted]) -> Table:
    """Return what papers print, of their own nets."""
    title = "Quoted from papers, not reproduced: other budgets, counted by other rules"
    return Table(title, QUOTED, tuple(Row(_quoted_cells(row), row.label) for row in rows))


def _quoted_cells(row: Quoted) -> tuple[str, ...]:
    source = row.source.paper + (f" (arXiv {row.source.arxiv})" if row.source.arxiv else "")
    printed = f"{row.printed:g}" if isinstance(row.printed, float) else str(row.printed)
    accuracies = ("" if one is None else f"{one:.2f}" for one in (row.top1, row.top5))
    return (row.method, row.backbone or "", source, row.place, *accuracies, short_macs(row.macs), printed, row.unit)
