"""A finding in words, the same in the terminal, in Markdown and in JUnit XML."""

import re
from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from dynbench.analysis.words import short_macs
from dynbench.check.outcome import FAILING, PASSED, REGRESSIONS, Change, CheckResult, Finding, Verdict
from dynbench.report.tables import markdown_table, one_line
from dynbench.suite.rules import Rule

CHECK_HEADERS = ("metric", "baseline", "now", "change", "95 % interval", "limit", "verdict")


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


SUITE = "dynbench check"
NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold; a plugin's error message may."""
AS: dict[Verdict, str] = {
    **dict.fromkeys(FAILING, "failure"),
    Verdict.UNJUDGED: "error",
    Verdict.REFUSED: "skipped",
}
"""How JUnit calls a verdict; the others are passed."""


def junit_xml(outcome: CheckResult) -> bytes:
    """One test suite. What could not be judged as a whole is an error of a test case of its own."""
    root = Element("testsuites")
    suite = SubElement(root, "testsuite", name=SUITE)
    for finding in outcome.findings:
        _case(suite, finding)
    if outcome.problem is not None or not outcome.findings:
        case = SubElement(suite, "testcase", classname=SUITE, name="comparison", time="0")
        SubElement(case, "error", message=_clean(outcome.unjudged or ""))
    for name, kinds in (("failures", ["failure"]), ("errors", ["error"]), ("skipped", ["skipped"])):
        suite.set(name, str(_count(suite, kinds)))
    suite.set("tests", str(len(suite)))
    indent(root)
    content: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _case(suite: Element, finding: Finding) -> None:
    name = " ".join(filter(None, (finding.point, finding.subject)))
    case = SubElement(suite, "testcase", classname=_clean(finding.title), name=_clean(name), time="0")
    said = _clean(sentence(finding))
    if finding.verdict in AS:
        SubElement(case, AS[finding.verdict], message=said, type=str(finding.verdict))
    else:
        SubElement(case, "system-out").text = said


def _count(suite: Element, kinds: Sequence[str]) -> int:
    return sum(case.find(kind) is not None for case in suite for kind in kinds)


def _clean(text: str) -> str:
    return NOT_IN_XML.sub("?", text)


MARKS = {PASSED: "✅", REGRESSIONS: "❌"}
TEXT_COLUMNS = {"configuration", "point", "metric", "verdict"}
ADVICE = (Verdict.WARNING, Verdict.UNJUDGED, Verdict.BETTER)


def markdown_summary(outcome: CheckResult) -> str:
    """What failed comes first; every comparison is in the table, also those that passed."""
    return "\n\n".join(_parts(outcome)) + "\n"


def _parts(outcome: CheckResult) -> Iterator[str]:
    yield f"## {MARKS.get(outcome.exit_code, '⚠️')} dynbench check {one_line(outcome.headline)}"
    for verdicts in (outcome.failing, outcome.with_verdicts(ADVICE)):
        if verdicts:
            yield "\n".join(f"- **{finding.verdict}**{_after_verdict(sentence(finding))}" for finding in verdicts)
    if outcome.findings:
        rows = ((f.title, f.point, *cells(f)) for f in outcome.findings)
        yield markdown_table(("configuration", "point", *CHECK_HEADERS), rows, TEXT_COLUMNS)
    lines = [*outcome.notes, *(f"extra, not compared: {extra}" for extra in outcome.extras)]
    if lines:
        yield "\n".join(f"- {one_line(line)}" for line in lines)


def _after_verdict(text: str) -> str:
    return one_line(text[text.index(":") :])
