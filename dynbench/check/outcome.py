"""What a check found, one line each, and the exit code that it comes to."""

from collections.abc import Collection
from dataclasses import dataclass

from dynbench.check.rules import Change, Rule
from dynbench.check.verdict import FAILING, JUDGED, Verdict

PASSED, REGRESSIONS, UNJUDGED = 0, 1, 2
"""Exit codes."""


@dataclass(frozen=True)
class Finding:
    """One comparison of one configuration: `title` for people, the operating `point` (empty: all of them) and the
    `subject`, a metric's name, `runs` or `seed 0`. Without `rule` and `change` there was nothing to compare; `reason`
    says why."""

    title: str
    point: str
    subject: str
    verdict: Verdict
    reason: str = ""
    rule: Rule | None = None
    change: Change | None = None


@dataclass(frozen=True)
class Outcome:
    """Everything that a check found. `extras`: runs that the baseline does not have. `notes`: what else is to be known.
    `problem`: why the check as a whole could not judge."""

    findings: tuple[Finding, ...] = ()
    extras: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str | None = None

    def with_verdicts(self, verdicts: Collection[Verdict]) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.verdict in verdicts)

    @property
    def failing(self) -> tuple[Finding, ...]:
        return self.with_verdicts(FAILING)

    @property
    def unjudged(self) -> str | None:
        """Why this cannot pass although nothing failed; None when it can."""
        if self.problem is not None:
            return self.problem
        unjudged = self.with_verdicts({Verdict.UNJUDGED})
        if unjudged:
            return f"{unjudged[0].title}: {unjudged[0].reason}"
        return None if self.with_verdicts(JUDGED) else "nothing was compared: no rule fits what the baseline holds"

    @property
    def exit_code(self) -> int:
        """Nothing to compare is never a pass."""
        if self.failing:
            return REGRESSIONS
        return PASSED if self.unjudged is None else UNJUDGED

    @property
    def headline(self) -> str:
        """One line: what it came to."""
        compared = f"{len(self.with_verdicts(JUDGED))} comparisons"
        if self.failing:
            return f"FAILED: {len(self.failing)} of {len(self.findings)} findings fail"
        return f"passed: {compared}" if self.unjudged is None else f"could not judge: {self.unjudged}"
