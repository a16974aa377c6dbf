"""A finding in words and in cells, the same in the terminal, in Markdown and in JUnit XML."""

from collections.abc import Sequence

from dynbench.analysis.words import short_macs
from dynbench.check.outcome import FAILING, Change, Finding, Verdict
from dynbench.report.layout import Brief, Row, Table, TableColumn, Tone
from dynbench.suite.rules import Rule

COLUMNS = (
    TableColumn("configuration", words=True, place="name"),
    TableColumn("point", words=True, place="point"),
    TableColumn("metric", words=True, place="metric"),
    TableColumn("baseline", brief=Brief("\nbaseline")),
    TableColumn("now", brief=Brief("\nnow")),
    TableColumn("change", brief=Brief("\nchange")),
    TableColumn("95 % interval", brief=Brief("95 %\ninterval")),
    TableColumn("limit", brief=Brief("\nlimit")),
    TableColumn("verdict", words=True, brief=Brief("\nverdict", "left")),
)


def findings_table(findings: Sequence[Finding]) -> Table:
    """Return every comparison, also those that passed."""
    rows = (Row((f.title, f.point, *_cells(f)), f.title, tone=tone_of(f.verdict)) for f in findings)
    return Table("", COLUMNS, tuple(rows))


def tone_of(verdict: Verdict) -> Tone:
    """Return how a verdict is to be taken."""
    if verdict in FAILING or verdict is Verdict.UNJUDGED:
        return "bad"
    if verdict in {Verdict.WARNING, Verdict.REFUSED}:
        return "warning"
    return "good" if verdict is Verdict.BETTER else ""


def _cells(finding: Finding) -> tuple[str, ...]:
    """From the metric on. Changes are in points where the metric is a percentage, else in per cent of the baseline."""
    rule, change = finding.rule, finding.change
    if rule is None or change is None:
        return (finding.subject, "", "", "", "", "" if rule is None else str(rule), str(finding.verdict))
    return (
        finding.subject,
        _value(rule, change.before),
        _value(rule, change.after),
        _difference(rule, change, change.difference),
        _interval(rule, change),
        "exact" if change.differs is not None else str(rule),
        str(finding.verdict),
    )


def sentence(finding: Finding) -> str:
    """Return a finding as a sentence.

    An example is `regression: dense (resnet8 on digits): test_top1: 98.4 -> 91.2, change -7.20 (-8.1 to -6.3), limit
    -0.5pt`.
    """
    of = f", {finding.point}" if finding.point else ""
    return f"{finding.verdict}: {finding.title}{of}: {': '.join(filter(None, (_figures(finding), finding.reason)))}"


def _figures(finding: Finding) -> str:
    if finding.change is None:
        return finding.subject
    subject, before, now, change, interval, limit, _ = _cells(finding)
    spread = f" ({interval})" if interval else ""
    return f"{subject} {before} -> {now}, change {change}{spread}, limit {limit}"


def _value(rule: Rule, value: float) -> str:
    return short_macs(value) if rule.metric.counts_macs else f"{value:.2f}"


def _difference(rule: Rule, change: Change, difference: float) -> str:
    if rule.metric.unit == "pt":
        return f"{difference:+.2f}"
    return f"{100 * difference / change.before:+.1f} %" if change.before else f"{difference:+.3g}"


def _interval(rule: Rule, change: Change) -> str:
    if change.interval is None:
        return ""
    return " to ".join(_difference(rule, change, bound).removesuffix(" %") for bound in change.interval)
