"""The two sides of a comparison, in the same form: what was measured now is put as a baseline would hold it."""

from collections.abc import Mapping
from dataclasses import dataclass

from dynbench.check.baseline import BaselineConfiguration, BaselinePoint, BaselineRun
from dynbench.check.outcome import Finding
from dynbench.check.rules import Change, Rule
from dynbench.check.verdict import Verdict


@dataclass(frozen=True)
class Pair:
    """The runs, by seed, of one configuration and the seeds that both sides have finished."""

    configuration: BaselineConfiguration
    before: Mapping[int, BaselineRun]
    after: Mapping[int, BaselineRun]

    def finding(
        self, rule: Rule, verdict: Verdict, reason: str = "", change: Change | None = None, point: str = ""
    ) -> Finding:
        return Finding(self.configuration.title, point, rule.metric.name, verdict, reason, rule, change)


@dataclass(frozen=True)
class PointPair:
    """One operating point of a pair, by seed."""

    pair: Pair
    name: str
    before: Mapping[int, BaselinePoint]
    after: Mapping[int, BaselinePoint]

    def finding(self, rule: Rule, verdict: Verdict, reason: str = "", change: Change | None = None) -> Finding:
        return self.pair.finding(rule, verdict, reason, change, self.name)

    def judged(self, rule: Rule, change: Change) -> Finding:
        return self.finding(rule, rule.judge(change), change=change)
