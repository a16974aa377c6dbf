"""What a comparison came to."""

from enum import StrEnum


class Verdict(StrEnum):
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
