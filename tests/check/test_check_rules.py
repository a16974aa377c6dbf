"""Rules: what they say, what they refuse, how they judge."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dynbench.check.changes import counted_change
from dynbench.check.judges import OF_POINTS, OF_RUNS
from dynbench.check.outcome import Change, SeedChange, Verdict
from dynbench.check.verdict import FAR, judge
from dynbench.errors import UserError
from dynbench.suite.rules import DEFAULT_RULES, METRICS, Nothing, Percent, Points, Rule, parse_rule, parse_rules
from dynbench.suite.schema import CheckRules

sizes = st.floats(1e-6, 1e6).map(lambda size: float(f"{size:.6g}"))


@pytest.mark.parametrize(
    ("name", "text", "tolerance", "written"),
    [
        ("macs_mean", 0, Nothing(), "0"),
        ("macs_mean", "0%", Nothing(), "0"),
        ("macs_mean", "+5%", Percent(5), "+5%"),
        ("macs_mean", "5 %", Percent(5), "+5%"),
        ("macs_layers", "0", Nothing(), "0"),
        ("test_top1", "-0.5pt", Points(0.5), "-0.5pt"),
        ("test_top1", ".5pt", Points(0.5), "-0.5pt"),
        ("test_top1", "-1%", Percent(1), "-1%"),
        ("test_top1", "-0pt", Nothing(), "0"),
        ("realised", "-10%", Percent(10), "-10%"),
    ],
)
def test_a_rule_is_a_small_typed_check(name: str, text: object, tolerance: object, written: str) -> None:
    rule = parse_rule(name, text)
    assert (rule.metric.name, rule.tolerance, str(rule)) == (name, tolerance, written)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("test_top", "-1pt", 'rule test_top: -1pt: no such metric "test_top"; did you mean "test_top1"?'),
        (
            "test_top1",
            "half a point",
            "rule test_top1: half a point: expected 0, points as -0.5pt, or per cent as -10%",
        ),
        ("test_top1", "-1pt -2pt", "rule test_top1: -1pt -2pt: expected 0"),
        ("test_top1", True, "rule test_top1: True: expected 0"),
        ("test_top1", None, "rule test_top1: None: expected 0"),
        ("test_top1", float("nan"), "rule test_top1: nan: expected 0"),
        ("test_top1", "+1pt", "rule test_top1: +1pt: test_top1 gets worse the other way; write -1pt"),
        ("macs_mean", "-5%", "rule macs_mean: -5%: macs_mean gets worse the other way; write +5%"),
        ("macs_mean", "5", "rule macs_mean: 5: 5 of what? expected 0"),
        ("macs_mean", "5pt", "rule macs_mean: 5pt: only accuracies have points; write per cent, as 5%"),
        ("macs_layers", "1%", "rule macs_layers: 1%: macs_layers is compared exactly; write 0"),
    ],
)
def test_nonsense_is_named(name: str, text: object, problem: str) -> None:
    with pytest.raises(UserError) as error:
        parse_rule(name, text)
    assert str(error.value).startswith(problem)


@given(st.sampled_from(["test_top1", "macs_mean", "realised"]), sizes, st.sampled_from(["pt", "%"]), st.booleans())
def test_a_rule_reads_as_it_was_written(name: str, size: float, unit: str, signed: bool) -> None:
    unit = unit if METRICS[name].unit == "pt" else "%"
    sign = ("+" if METRICS[name].worse > 0 else "-") if signed else ""
    rule = parse_rule(name, f"{sign}{size:f}{unit}")
    assert parse_rule(name, str(rule)) == rule
    assert rule.tolerance.allowed(200.0) == pytest.approx(float(f"{size:f}") * (1 if unit == "pt" else 2))


@given(st.sampled_from(sorted(METRICS)), st.text(max_size=8) | st.integers() | st.floats() | st.none())
def test_whatever_is_written_is_a_rule_or_an_error_for_people(name: str, text: object) -> None:
    try:
        rule = parse_rule(name, text)
    except UserError as error:
        assert str(error).startswith(f"rule {name}: ")
    else:
        assert parse_rule(name, str(rule)) == rule


@given(
    st.sampled_from(["test_top1", "macs_mean"]),
    st.floats(1, 100),
    st.floats(-50, 50),
    st.floats(0, 20),
    st.floats(0, 20),
)
def test_a_regression_is_larger_than_the_tolerance_and_significant_and_nothing_uncertain_passes(
    name: str, before: float, difference: float, half: float, allowed: float
) -> None:
    rule = Rule(METRICS[name], Points(allowed))
    after = before + difference
    change = Change(before, after, (after - before - half, after - before + half))
    loss = (after - before) * METRICS[name].worse
    limit = allowed + 1e-9 * max(1, before)
    if loss > limit:
        expected = Verdict.REGRESSION if loss > half else Verdict.UNJUDGED
    elif -loss > limit and -loss > half:
        expected = Verdict.BETTER
    else:
        expected = Verdict.UNJUDGED if loss + half > FAR * limit else Verdict.OK
    assume(min(abs(abs(loss) - limit), abs(abs(loss) - half), abs(loss + half - FAR * limit)) > 1e-9 or half == 0)
    assert judge(rule, change).verdict is expected


@given(
    st.lists(st.tuples(st.floats(60, 100), st.floats(0, 100), st.booleans()), min_size=1, max_size=5),
    st.floats(0, 5),
    st.floats(0, 100),
)
def test_no_seed_hides_behind_the_others(seeds: list[tuple[float, float, bool]], allowed: float, half: float) -> None:
    """However wide the interval is, and however much the others gained."""
    changes = tuple(SeedChange(number, *seed) for number, seed in enumerate(seeds))
    before, after = (sum(values) / len(seeds) for values in list(zip(*seeds, strict=True))[:2])
    change = Change(before, after, (after - before - half, after - before + half), seeds=changes)
    verdict = judge(Rule(METRICS["test_top1"], Points(allowed)), change).verdict
    lost = [was - now for was, now, shown in seeds if shown]
    if max(lost, default=0) > FAR * (allowed + 1e-6):
        assert verdict is Verdict.REGRESSION
    if max(was - now for was, now, _ in seeds) > FAR * (allowed + 1e-6) or before - after > allowed + 1e-6:
        assert verdict in {Verdict.REGRESSION, Verdict.UNJUDGED}


def test_what_is_counted_has_no_noise_and_each_seed_keeps_the_limit() -> None:
    rule = parse_rule("train_macs", "+10%")
    for factor, expected in (
        (1.0, Verdict.OK),
        (1.09, Verdict.OK),
        (1.11, Verdict.REGRESSION),
        (10, Verdict.REGRESSION),
    ):
        assert (
            judge(rule, counted_change({0: 100, 1: 100, 2: 100}, {0: 100, 1: 100, 2: 100 * factor})).verdict is expected
        )


def test_what_is_compared_exactly_may_not_get_better_either() -> None:
    rule = parse_rule("macs_mean", "50%")
    assert judge(rule, Change(100, 99, differs=True)).verdict == Verdict.REGRESSION
    assert judge(rule, Change(100, 100, differs=False)).verdict == Verdict.OK


def test_what_only_advises_is_never_a_regression() -> None:
    assert judge(parse_rule("realised", "-10%"), Change(1.0, 0.5)).verdict == Verdict.WARNING
    assert judge(parse_rule("realised", "-10%"), Change(1.0, 0.95)).verdict == Verdict.OK


def test_what_only_advises_warns_also_where_it_may_be_chance() -> None:
    change = Change(1.0, 0.5, (-1.5, 0.5))
    assert judge(parse_rule("realised", "-10%"), change).verdict is Verdict.WARNING


def test_every_metric_has_a_judge() -> None:
    assert set(METRICS) == {*OF_RUNS, *OF_POINTS}


def test_the_schema_knows_every_metric_and_the_defaults_are_rules() -> None:
    assert set(CheckRules.model_fields) == set(METRICS)
    assert {rule.metric.name: str(rule) for rule in parse_rules(DEFAULT_RULES)} == dict(DEFAULT_RULES)
