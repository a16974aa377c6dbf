"""`test_top1: -0.5pt` -> a small typed check with one `judge`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from dynbench.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Metric:
    """Something that a rule may be about.

    `worse`: the sign of a change for the worse. `unit` of a change: points (of a percentage) or per cent of the
    baseline. An advisory one never fails a check; of an exact one no change is allowed; one that is not noisy is
    counted, and the same code gives the same.
    """

    name: str
    worse: Literal[-1, 1]
    unit: Literal["pt", "%"] = "%"
    counts_macs: bool = False
    advisory: bool = False
    exact: bool = False
    noisy: bool = True


METRICS = {
    metric.name: metric
    for metric in (
        Metric("macs_layers", 1, counts_macs=True, exact=True),
        Metric("macs_mean", 1, counts_macs=True),
        Metric("test_top1", -1, "pt"),
        Metric("train_macs", 1, counts_macs=True, noisy=False),
        Metric("realised", -1, advisory=True),
        Metric("realised_best", -1, advisory=True),
    )
}
"""`macs_layers`: what each layer costs whole, summed. The others are columns of the flat table. What a
suite's `check:` may say is made from this; `dynbench.check.judges` has a judge for each."""

DEFAULT_RULES: Mapping[str, str] = {"macs_layers": "0", "macs_mean": "0", "test_top1": "-0.5pt", "realised": "-10%"}


@dataclass(frozen=True)
class Nothing:
    """`0`: no tolerance.

    Where there is noise, whatever is not the same to the last digit, and not shown to be better or worse, cannot be
    judged.
    """

    def allowed(self, before: float) -> float:  # noqa: ARG002
        """Return zero: no change is allowed."""
        return 0.0

    def __str__(self) -> str:
        return "0"


@dataclass(frozen=True)
class Points:
    """`0.5pt`: percentage points."""

    points: float

    def allowed(self, before: float) -> float:  # noqa: ARG002
        """Return the points, whatever the figure was."""
        return self.points

    def __str__(self) -> str:
        return f"{_plain(self.points)}pt"


@dataclass(frozen=True)
class Percent:
    """`10%`: of the baseline's value."""

    percent: float

    def allowed(self, before: float) -> float:
        """Return the share of what the figure was."""
        return abs(before) * self.percent / 100

    def __str__(self) -> str:
        return f"{_plain(self.percent)}%"


Tolerance = Nothing | Points | Percent


def _plain(size: float) -> str:
    """`10` for 10.0, all digits, no exponent: it can be read again."""
    return f"{Decimal(repr(size)):f}".removesuffix(".0")


@dataclass(frozen=True)
class Rule:
    """How much worse a metric may get."""

    metric: Metric
    tolerance: Tolerance

    def __str__(self) -> str:
        """As it is written in a file: `-0.5pt`."""
        sign = "" if self.tolerance == Nothing() else "+" if self.metric.worse > 0 else "-"
        return f"{sign}{self.tolerance}"


PATTERN = re.compile(r"(?P<sign>[+-]?)(?P<size>\d+(\.\d*)?|\.\d+)\s*(?P<unit>pt|%|)")
EXAMPLES = "expected 0, points as -0.5pt, or per cent as -10%"


def parse_rule(name: str, text: object) -> Rule:
    """Return the rule for the metric called `name`; `text` as `0`, `-0.5pt` or `+10%`.

    The sign, if any, is that of a change for the worse. Raises UserError that names the rule.
    """
    if name not in METRICS:
        raise UserError(f'rule {name}: {text}: no such metric "{name}"; {did_you_mean(name, METRICS)}')
    metric, where = METRICS[name], f"rule {name}: {text}"
    match = None if isinstance(text, bool) else PATTERN.fullmatch(str(text).strip())
    if match is None:
        raise UserError(f"{where}: {EXAMPLES}")
    tolerance = _tolerance(metric, float(match["size"]), match["unit"], where)
    worse = "+" if metric.worse > 0 else "-"
    if match["sign"] and match["sign"] != worse and tolerance != Nothing():
        raise UserError(f"{where}: {name} gets worse the other way; write {worse}{match['size']}{match['unit']}")
    return Rule(metric, tolerance)


def _tolerance(metric: Metric, size: float, unit: str, where: str) -> Tolerance:
    if size == 0:
        return Nothing()
    if metric.exact:
        raise UserError(f"{where}: {metric.name} is compared exactly; write 0, or leave the rule out")
    if not unit:
        raise UserError(f"{where}: {size:g} of what? {EXAMPLES}")
    if unit == "pt" and metric.unit != "pt":
        raise UserError(f"{where}: only accuracies have points; write per cent, as {size:g}%")
    return Points(size) if unit == "pt" else Percent(size)


def parse_rules(texts: Mapping[str, object]) -> tuple[Rule, ...]:
    """Return the rules in the order of `METRICS`. Raises UserError that names the rule."""
    unknown = [name for name in texts if name not in METRICS]
    return tuple(parse_rule(name, texts[name]) for name in (*unknown, *METRICS) if name in texts)
