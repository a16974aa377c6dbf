"""From a change and a rule to a verdict.

Nothing passes by being uncertain: a change beyond its limit is a regression where it is shown, and otherwise it cannot
be judged; and within the limit it cannot be judged either while the interval reaches far beyond it. Each seed is
compared with its own of the baseline besides, so that a mean hides no seed. docs/regression-checks.md has a table of
how often that misses what is worse, and how often it alarms for nothing.
"""

from collections.abc import Iterator
from typing import NamedTuple

from dynbench.check.outcome import Change, SeedChange, Verdict
from dynbench.suite.rules import Rule

ROUNDING = 1e-9
"""Means that differ by less, or by this part of them, are equal: they are sums of the same numbers in another order."""
FAR = 3
"""Limits that one seed may be worse by, and that the interval of the mean has to lie within."""


class Judgement(NamedTuple):
    """A verdict, and why where that is not plain from the figures."""

    verdict: Verdict
    reason: str = ""


def judge(rule: Rule, change: Change) -> Judgement:
    """Return the gravest of what the mean and each seed give.

    What is compared exactly may not differ, whichever way.
    """
    if change.differs is not None:
        return Judgement(Verdict.REGRESSION if change.differs else Verdict.OK)
    found = [_of_mean(rule, change), *_of_seeds(rule, change)]
    for gravest in (Verdict.REGRESSION, Verdict.UNJUDGED):
        for one in found:
            if one.verdict is gravest:
                return one._replace(verdict=Verdict.WARNING) if rule.metric.advisory else one
    return found[0]


def _of_mean(rule: Rule, change: Change) -> Judgement:
    """Losses are positive where it got worse."""
    loss, limit = change.difference * rule.metric.worse, _allowed(rule, change.before)
    low, high = sorted(bound * rule.metric.worse for bound in change.interval or (change.difference, change.difference))
    if loss > limit:
        if low > 0:
            return Judgement(Verdict.REGRESSION)
        return Judgement(Verdict.UNJUDGED, "beyond the limit, and it may be chance: more seeds would tell")
    if -loss > limit and high < 0:
        return Judgement(Verdict.BETTER)
    if high > FAR * limit and not rule.metric.advisory:
        far = f"{FAR} times the limit" if limit > _rounding(change.before) else "any"
        return Judgement(Verdict.UNJUDGED, f"a loss of {far} is not excluded: more seeds or a wider limit would tell")
    return Judgement(Verdict.OK)


def _of_seeds(rule: Rule, change: Change) -> Iterator[Judgement]:
    """Of each seed that is worse than it may be: where there is no noise by the limit, else by several of them."""
    limits = FAR if rule.metric.noisy else 1
    for seed in change.seeds:
        loss = (seed.after - seed.before) * rule.metric.worse
        if loss > limits * _allowed(rule, seed.before):
            verdict = Verdict.REGRESSION if seed.shown else Verdict.UNJUDGED
            yield Judgement(verdict, f"seed {seed.seed} alone is worse by {_said(rule, seed, loss)}")


def _said(rule: Rule, seed: SeedChange, loss: float) -> str:
    if rule.metric.unit == "pt":
        return f"{loss:.2f}pt"
    return f"{100 * loss / abs(seed.before):.1f} %" if seed.before else f"{loss:.3g}"


def _allowed(rule: Rule, before: float) -> float:
    return rule.tolerance.allowed(before) + _rounding(before)


def _rounding(before: float) -> float:
    return ROUNDING * max(1.0, abs(before))
