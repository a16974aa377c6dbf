"""What a check found, for CI: JUnit XML, and a summary in Markdown."""

import re
from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from dynbench.check.findings_table import findings_table, sentence
from dynbench.check.outcome import FAILING, PASSED, REGRESSIONS, CheckResult, Finding, Verdict
from dynbench.report.markdown import bullets, one_line, rows_of

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
    """Return the findings as one test suite.

    What could not be judged as a whole is an error of a test case of its own.
    """
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
ADVICE = (Verdict.WARNING, Verdict.UNJUDGED, Verdict.BETTER)


def markdown_summary(outcome: CheckResult) -> str:
    """Return the summary: what failed comes first.

    Every comparison is in the table, also those that passed.
    """
    return "\n\n".join(_parts(outcome)) + "\n"


def _parts(outcome: CheckResult) -> Iterator[str]:
    yield f"## {MARKS.get(outcome.exit_code, '⚠️')} dynbench check {one_line(outcome.headline)}"
    for verdicts in (outcome.failing, outcome.with_verdicts(ADVICE)):
        if verdicts:
            yield "\n".join(f"- **{finding.verdict}**{_after_verdict(sentence(finding))}" for finding in verdicts)
    if outcome.findings:
        yield rows_of(findings_table(outcome.findings))
    lines = [*outcome.notes, *(f"extra, not compared: {extra}" for extra in outcome.extras)]
    if lines:
        yield bullets(lines)


def _after_verdict(text: str) -> str:
    return one_line(text[text.index(":") :])
