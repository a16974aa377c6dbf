"""A finding in words, the same in the terminal, in Markdown and in JUnit XML."""

from dynbench.check.outcome import Finding
from dynbench.check.rules import Change, Rule
from dynbench.report.words import short_macs

HEADERS = ("metric", "baseline", "now", "change", "95 % interval", "limit", "verdict")


def cells(finding: Finding) -> tuple[str, ...]:
    """In the order of `HEADERS`. Changes are in points where the metric is a percentage, else in per cent of the
    baseline."""
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
    """`regression: dense (resnet8 on digits): test_top1: 98.4 -> 91.2, change -7.20 (-8.1 to -6.3), limit -0.5pt`."""
    of = f", {finding.point}" if finding.point else ""
    return f"{finding.verdict}: {finding.title}{of}: {': '.join(filter(None, (_figures(finding), finding.reason)))}"


def _figures(finding: Finding) -> str:
    if finding.change is None:
        return finding.subject
    subject, before, now, change, interval, limit, _ = cells(finding)
    spread = f" ({interval})" if interval else ""
    return f"{subject} {before} -> {now}, change {change}{spread}, limit {limit}"


def _value(rule: Rule, value: float) -> str:
    return short_macs(value) if rule.metric.name.endswith(("macs", "macs_mean", "macs_layers")) else f"{value:.2f}"


def _difference(rule: Rule, change: Change, difference: float) -> str:
    if rule.metric.unit == "pt":
        return f"{difference:+.2f}"
    return f"{100 * difference / change.before:+.1f} %" if change.before else f"{difference:+.3g}"


def _interval(rule: Rule, change: Change) -> str:
    if change.interval is None:
        return ""
    return " to ".join(_difference(rule, change, bound).removesuffix(" %") for bound in change.interval)
