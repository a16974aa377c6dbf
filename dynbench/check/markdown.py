"""The outcome as GitHub-flavoured Markdown, for a job's summary."""

from collections.abc import Iterator

from dynbench.check.outcome import PASSED, REGRESSIONS, Outcome
from dynbench.check.verdict import Verdict
from dynbench.check.words import HEADERS, cells, sentence
from dynbench.report.markdown_table import markdown_table, one_line

MARKS = {PASSED: "✅", REGRESSIONS: "❌"}
TEXT = {"configuration", "point", "metric", "verdict"}
ADVICE = (Verdict.WARNING, Verdict.UNJUDGED, Verdict.BETTER)


def markdown_summary(outcome: Outcome) -> str:
    """What failed comes first; every comparison is in the table, also those that passed."""
    return "\n\n".join(_parts(outcome)) + "\n"


def _parts(outcome: Outcome) -> Iterator[str]:
    yield f"## {MARKS.get(outcome.exit_code, '⚠️')} dynbench check {one_line(outcome.headline)}"
    for verdicts in (outcome.failing, outcome.with_verdicts(ADVICE)):
        if verdicts:
            yield "\n".join(f"- **{finding.verdict}**{_after_verdict(sentence(finding))}" for finding in verdicts)
    if outcome.findings:
        rows = ((f.title, f.point, *cells(f)) for f in outcome.findings)
        yield markdown_table(("configuration", "point", *HEADERS), rows, TEXT)
    lines = [*outcome.notes, *(f"extra, not compared: {extra}" for extra in outcome.extras)]
    if lines:
        yield "\n".join(f"- {one_line(line)}" for line in lines)


def _after_verdict(text: str) -> str:
    return one_line(text[text.index(":") :])
