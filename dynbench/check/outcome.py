"""What a check found, one line each, and the exit code that it comes to."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from dynbench.check.baseline import BaselineConfiguration, BaselinePoint, BaselineRun
from dynbench.suite.rules import Rule


@dataclass(frozen=True)
class SeedChange:
    """A metric of one seed before and after. `shown`: whether its own images show that it differs, at 95 %."""

    seed: int
    before: float
    after: float
    shown: bool


@dataclass(frozen=True)
class Change:
    """A metric before and after, means over seeds.

    `interval`: of after - before, from the lowest to the highest bound of all 95 % intervals that apply; None for what
    has no noise. `differs`: of what is compared exactly, whether anything does, on any seed; None: it is judged by its
    interval. `seeds`: each by itself.
    """

    before: float
    after: float
    interval: tuple[float, float] | None = None
    differs: bool | None = None
    seeds: tuple[SeedChange, ...] = ()

    @property
    def difference(self) -> float:
        """Return by how much the figure changed."""
        return self.after - self.before


class Verdict(StrEnum):
    """What a comparison came to."""

    OK = "ok"
    BETTER = "better"
    """By more than the tolerance, and significantly: worth a new baseline."""
    WARNING = "warning"
    """Worse, of a metric that only advises."""
    REFUSED = "refused"
    """Not comparable, of a metric that only advises."""
    REGRESSION = "regression"
    MISSING = "missing"
    FAILED = "failed"
    UNAUDITED = "unaudited"
    UNJUDGED = "not judged"
    """It could not be told."""


FAILING = frozenset({Verdict.REGRESSION, Verdict.MISSING, Verdict.FAILED, Verdict.UNAUDITED})
JUDGED = frozenset({Verdict.OK, Verdict.BETTER, Verdict.WARNING, Verdict.REGRESSION})


PASSED, REGRESSIONS, NOT_JUDGED = 0, 1, 2
"""Exit codes."""


@dataclass(frozen=True)
class Finding:
    """One comparison of one configuration.

    `title` for people, the operating `point` (empty: all of them) and the `subject`, a metric's name, `runs` or `seed
    0`. Without `rule` and `change` there was nothing to compare; `reason` says why.
    """

    title: str
    point: str
    subject: str
    verdict: Verdict
    reason: str = ""
    rule: Rule | None = None
    change: Change | None = None


@dataclass(frozen=True)
class CheckResult:
    """Everything that a check found.

    `extras`: runs that the baseline does not have. `notes`: what else is to be known. `problem`: why the check as a
    whole could not judge.
    """

    findings: tuple[Finding, ...] = ()
    extras: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str | None = None

    def with_verdicts(self, verdicts: Collection[Verdict]) -> tuple[Finding, ...]:
        """Return the findings that have one of `verdicts`."""
        return tuple(finding for finding in self.findings if finding.verdict in verdicts)

    @property
    def failing(self) -> tuple[Finding, ...]:
        """Return the findings that fail the check."""
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
        return PASSED if self.unjudged is None else NOT_JUDGED

    @property
    def headline(self) -> str:
        """One line: what it came to."""
        compared = f"{len(self.with_verdicts(JUDGED))} comparisons"
        if self.failing:
            return f"FAILED: {len(self.failing)} of {len(self.findings)} findings fail"
        return f"passed: {compared}" if self.unjudged is None else f"could not judge: {self.unjudged}"


@dataclass(frozen=True)
class Pair:
    """The runs, by seed, of one configuration and the seeds that both sides have finished."""

    configuration: BaselineConfiguration
    before: Mapping[int, BaselineRun]
    after: Mapping[int, BaselineRun]

    def finding(
        self, rule: Rule, verdict: Verdict, reason: str = "", change: Change | None = None, point: str = ""
    ) -> Finding:
        """Return a finding about the pair."""
        return Finding(self.configuration.title, point, rule.metric.name, verdict, reason, rule, change)


@dataclass(frozen=True)
class PointPair:
    """One operating point of a pair, by seed."""

    pair: Pair
    name: str
    before: Mapping[int, BaselinePoint]
    after: Mapping[int, BaselinePoint]

    def finding(self, rule: Rule, verdict: Verdict, reason: str = "", change: Change | None = None) -> Finding:
        """Return a finding about the operating point."""
        return self.pair.finding(rule, verdict, reason, change, self.name)
