"""The summary as GitHub-flavoured Markdown, to be committed and pasted into a README."""

from collections.abc import Iterable, Sequence

from dynbench.record import Record
from dynbench.report.control import MATCHED, Comparison
from dynbench.report.summary import Configuration, PointSummary, Setting, configurations
from dynbench.report.words import accuracy, epochs, p_values, setting_title, short_macs

HEADERS = (
    "method",
    "point",
    "width",
    "epochs",
    "seeds",
    "test top-1 %",
    "test top-5 %",
    "mean MACs",
    "% of dense",
    "p95 MACs",
    "gates MACs",
    "audited",
)
CONTROL_HEADERS = ("method", "point", "top-1 %", "control", "difference", "95 % interval", "McNemar p", "MACs ratio")
TEXT_COLUMNS = {"method", "point", "control"}


def markdown_report(records: Sequence[Record], comparisons: Sequence[Comparison]) -> str:
    """The final table, the failures and the controls' table."""
    known = configurations(records)
    parts = [_block(setting, known) for setting in dict.fromkeys(c.setting for c in known)]
    failed = [record for configuration in known for record in configuration.failed]
    if failed:
        parts.append("\n".join(map(_failure, failed)))
    if comparisons:
        parts.append(_controls(comparisons))
    return "\n\n".join(parts) + "\n"


def _failure(record: Record) -> str:
    return f"- failed: `{record.run_id}`: {_one_line(record.error or 'no reason recorded')}"


def _block(setting: Setting, known: Sequence[Configuration]) -> str:
    chosen = [configuration for configuration in known if configuration.setting == setting]
    rows = [row for configuration in chosen for row in _rows(configuration)]
    return f"**{_one_line(setting_title(setting, chosen))}**\n\n{_table(HEADERS, rows)}"


def _rows(configuration: Configuration) -> list[tuple[str, ...]]:
    label, width = configuration.run.label, f"{configuration.run.built.width:.3g}"
    shared = (width, epochs(configuration), str(len(configuration.finished)))
    if not configuration.points:
        return [(label, "failed", *shared)]
    return [(label, point.name, *shared, *_results(point)) for point in configuration.points]


def _results(point: PointSummary) -> tuple[str, ...]:
    return (
        accuracy(point.test_top1),
        accuracy(point.test_top5),
        short_macs(point.macs.mean),
        f"{100 * point.of_dense:.1f}",
        short_macs(point.macs_p95),
        short_macs(point.macs_gates),
        "yes" if point.audited else "no",
    )


def _controls(comparisons: Sequence[Comparison]) -> str:
    note = f"\n\n\\* not at equal cost: MACs differ by more than {100 * MATCHED:.0f} %"
    title = "**Against the nearest static control, on the same test images**"
    unmatched = any(not comparison.matched for comparison in comparisons)
    return f"{title}\n\n{_table(CONTROL_HEADERS, map(_control_row, comparisons))}{note if unmatched else ''}"


def _control_row(comparison: Comparison) -> tuple[str, ...]:
    return (
        comparison.point.configuration.run.label,
        comparison.point.name,
        f"{comparison.point.test_top1.mean:.2f}",
        f"width {comparison.control.configuration.run.built.width:.3g}",
        f"{comparison.difference:+.2f}",
        f"{comparison.low:+.2f} to {comparison.high:+.2f}",
        p_values(comparison),
        f"{comparison.macs_ratio:.2f}{'' if comparison.matched else '*'}",
    )


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rules = ["---" if header in TEXT_COLUMNS else "---:" for header in headers]
    padded = [(*row, *[""] * (len(headers) - len(row))) for row in rows]
    return "\n".join(f"| {' | '.join(map(_one_line, row))} |" for row in (headers, rules, *padded))


def _one_line(text: str) -> str:
    """`text` where a table cell can take it."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
