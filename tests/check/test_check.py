"""A baseline against made-up records: what passes, what fails, what cannot be judged."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dynbench.analysis.statistics import paired_interval, two_sample_interval
from dynbench.check.baseline import Baseline, pack_flags, read_baseline, unpack_flags, write_baseline
from dynbench.check.changes import macs_change
from dynbench.check.check_records import check
from dynbench.check.make import make_baseline
from dynbench.check.outcome import CheckResult, Verdict
from dynbench.errors import UserError
from dynbench.record.folder import ResultsFolder
from dynbench.suite.rules import DEFAULT_RULES, parse_rules
from dynbench.suite.schema import CheckRules
from tests.conftest import Call
from tests.helpers.records import IMAGES, MODES, Fake, make_run, write_fakes

SEEDS = (0, 1, 2)
LAYERS = (("conv1", 10_000_000), ("layer1.0.conv1", 20_000_000), ("fc", 12_000_000))
MMACS = (9.0, 15.0, 19.5)
Change = Callable[[Fake], Fake]


def fakes(seeds: Sequence[int] = SEEDS) -> list[Fake]:
    """A static net, and a dynamic one in three cost modes, timed and audited."""
    return [
        fake
        for seed in seeds
        for fake in (
            Fake(seed=seed, top1=90 + 0.25 * seed, audited=True, layers=LAYERS, speeds=(1.0,)),
            Fake(
                "lc_net",
                {"l1_layer": 0.1},
                seed,
                MODES,
                88 + 0.25 * seed,
                tuple(macs * (1 + 0.01 * seed) for macs in MMACS),
                spread=0.2,
                audited=True,
                layers=LAYERS,
                speeds=(2.0, 1.5, 1.2),
            ),
        )
    ]


def same(fake: Fake) -> Fake:
    return fake


def of(method: str, **change: Any) -> Change:
    """A change of the runs of one method."""
    return lambda fake: replace(fake, **change) if fake.method == method else fake


def judged(
    tmp_path: Path, change: Change = same, rules: dict[str, str] | None = None, seeds: Sequence[int] = SEEDS
) -> CheckResult:
    """The fakes against themselves, changed."""
    made = baseline_of(tmp_path, fakes(seeds))
    now = tmp_path / "now"
    write_fakes(now, [change(fake) for fake in fakes(seeds)])
    return check(
        ResultsFolder(now), ResultsFolder(now).records(), made, parse_rules(DEFAULT_RULES if rules is None else rules)
    )


def baseline_of(tmp_path: Path, of_these: Sequence[Fake]) -> Baseline:
    """Through a file, as it is used."""
    before, path = tmp_path / "before", tmp_path / "baseline.json"
    write_fakes(before, of_these)
    write_baseline(
        path,
        make_baseline(ResultsFolder(before), ResultsFolder(before).records(), CheckRules(**DEFAULT_RULES), "a test"),
    )
    return read_baseline(path)


def verdicts(outcome: CheckResult) -> set[tuple[str, str, str]]:
    """(method, subject, verdict) of everything that is not simply well."""
    return {(f.title.split()[0], f.subject, str(f.verdict)) for f in outcome.findings if f.verdict != Verdict.OK}


def test_what_is_unchanged_passes(tmp_path: Path) -> None:
    outcome = judged(tmp_path)
    assert outcome.exit_code == 0
    assert verdicts(outcome) == set()
    # Layers of two configurations; MACs, accuracy and `realised` of 1 + 3 operating points.
    assert len(outcome.findings) == 2 + 3 * 4


def test_the_figures_are_those_of_the_records(tmp_path: Path) -> None:
    outcome = judged(tmp_path, of("dense", top1=85.0))
    (found,) = [f for f in outcome.findings if f.subject == "test_top1" and f.title.startswith("dense")]
    assert found.change is not None
    assert (found.change.before, found.change.after) == pytest.approx((90.25, 85.0))
    assert found.change.interval is not None
    low, high = found.change.interval
    assert low < found.change.difference < high < 0


def test_an_accuracy_that_drops_is_a_regression(tmp_path: Path) -> None:
    outcome = judged(tmp_path, of("dense", top1=85.0))
    assert verdicts(outcome) == {("dense", "test_top1", "regression")}
    assert outcome.exit_code == 1


def test_a_drop_within_the_tolerance_passes(tmp_path: Path) -> None:
    assert judged(tmp_path, of("dense", top1=85.0), {"test_top1": "-6pt"}).exit_code == 0


def test_a_drop_that_other_images_could_have_undone_cannot_be_judged(tmp_path: Path) -> None:
    """Two of 400 images: larger than the tolerance, and not significant."""
    outcome = judged(tmp_path, of("dense", top1=89.5), {"test_top1": "-0.25pt"}, seeds=[0])
    assert verdicts(outcome) == {("dense", "test_top1", "not judged")}
    assert outcome.exit_code == 2
    assert "may be chance" in str(outcome.unjudged)
    assert verdicts(judged(tmp_path, of("dense", top1=85.0), {"test_top1": "-0.25pt"}, seeds=[0])) == {
        ("dense", "test_top1", "regression")
    }


def test_a_drop_of_one_seed_alone_is_a_regression(tmp_path: Path) -> None:
    """Over seeds it is not significant, and the more it drops the less."""
    for top1 in (80.0, 60.0, 10.0):
        outcome = judged(
            tmp_path / str(top1), lambda fake, top1=top1: of("dense", top1=top1)(fake) if fake.seed == 0 else fake
        )
        assert verdicts(outcome) == {("dense", "test_top1", "regression")}
        assert outcome.failing[0].reason == f"seed 0 alone is worse by {90 - top1:.2f}pt"


def test_static_macs_are_exact_whatever_the_tolerance(tmp_path: Path) -> None:
    for index, mmacs in enumerate((40.000001, 39.999999)):
        outcome = judged(tmp_path / str(index), of("dense", mmacs=(mmacs,)), {"macs_mean": "+50%"})
        assert verdicts(outcome) == {("dense", "macs_mean", "regression")}
        assert f"{round(1e6 * mmacs):,} MACs, in the baseline 40,000,000" in outcome.failing[0].reason


def test_a_layer_whose_formula_changed_is_named_also_in_a_dynamic_net(tmp_path: Path) -> None:
    layers = (LAYERS[0], ("layer1.0.conv1", 40_000_000), LAYERS[2])
    outcome = judged(tmp_path, of("lc_net", layers=layers))
    assert verdicts(outcome) == {("lc_net", "macs_layers", "regression")}
    assert outcome.failing[0].reason == "layer1.0.conv1: 40,000,000 MACs, in the baseline 20,000,000 MACs"


def test_layers_that_differ_between_seeds_are_learnt_and_not_compared_one_by_one(tmp_path: Path) -> None:
    def learnt(fake: Fake) -> Fake:
        return replace(fake, layers=(("conv1", 50_000_000 + fake.seed),))

    made = baseline_of(tmp_path, [learnt(fake) for fake in fakes()])
    now = tmp_path / "now"
    write_fakes(now, [replace(fake, layers=(("conv1", 60_000_000),)) for fake in fakes()])
    outcome = check(ResultsFolder(now), ResultsFolder(now).records(), made, parse_rules(DEFAULT_RULES))
    assert outcome.exit_code == 0
    assert outcome.notes == ("macs_layers: nothing could be compared by this rule",)


def test_gates_that_stop_closing_are_a_regression(tmp_path: Path) -> None:
    outcome = judged(tmp_path, of("lc_net", mmacs=(40.0, 40.0, 40.0), spread=0.0), {"macs_mean": "0"})
    assert verdicts(outcome) == {("lc_net", "macs_mean", "regression")}
    assert len(outcome.failing) == 3


def test_an_improvement_never_fails_and_asks_for_a_new_baseline(tmp_path: Path) -> None:
    outcome = judged(tmp_path, of("lc_net", mmacs=(4.0, 5.0, 6.0)), {"macs_mean": "0"})
    assert verdicts(outcome) == {("lc_net", "macs_mean", "better")}
    assert outcome.exit_code == 0
    assert outcome.notes == ("better than the baseline: make a new one to keep it so",)


def test_dynamic_macs_within_the_noise_of_seeds_pass_where_the_rule_leaves_room(tmp_path: Path) -> None:
    change = of("lc_net", mmacs=tuple(macs * 1.011 for macs in MMACS))
    assert judged(tmp_path / "room", change, {"macs_mean": "+5%"}).exit_code == 0
    assert judged(tmp_path / "none", change, {"macs_mean": "0"}).exit_code == 2


def test_slower_is_a_warning_and_never_fails(tmp_path: Path) -> None:
    outcome = judged(tmp_path, of("lc_net", speeds=(1.0, 0.8, 0.7)))
    assert verdicts(outcome) == {("lc_net", "realised", "warning")}
    assert outcome.exit_code == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"threads": 1}, "threads 1, in the baseline 2: not comparable"), ({"speeds": ()}, "not timed")],
)
def test_latency_is_refused_where_the_machine_differs(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    outcome = judged(tmp_path, of("lc_net", **change))
    assert verdicts(outcome) == {("lc_net", "realised", "refused")}
    assert {f.reason for f in outcome.findings if f.verdict == Verdict.REFUSED} == {reason}
    assert outcome.exit_code == 0


def test_another_cpu_refuses_latency(tmp_path: Path) -> None:
    made = baseline_of(tmp_path, fakes())
    content = (tmp_path / "baseline.json").read_text().replace('"cpu": "a CPU"', '"cpu": "another CPU"')
    (tmp_path / "baseline.json").write_text(content)
    made = read_baseline(tmp_path / "baseline.json")
    outcome = check(
        ResultsFolder(tmp_path / "before"),
        ResultsFolder(tmp_path / "before").records(),
        made,
        parse_rules({"realised": "-10%"}),
    )
    assert {f.reason for f in outcome.findings} == {"cpu a CPU, in the baseline another CPU: not comparable"}
    assert outcome.exit_code == 2  # it was the only rule: nothing has been judged


def test_a_run_that_failed_fails(tmp_path: Path) -> None:
    outcome = judged(tmp_path, lambda fake: replace(fake, error="it broke") if fake.seed == 1 else fake)
    assert verdicts(outcome) == {("dense", "seed 1", "failed"), ("lc_net", "seed 1", "failed")}
    assert {f.reason for f in outcome.failing} == {"it broke"}
    assert outcome.exit_code == 1
    assert len(outcome.findings) == 2 + 2 + 3 * 4  # the other seeds are compared anyway


def test_a_run_whose_executor_has_gone_fails(tmp_path: Path) -> None:
    outcome = judged(tmp_path, of("lc_net", audited=False))
    assert verdicts(outcome) == {("lc_net", f"seed {seed}", "unaudited") for seed in SEEDS}
    assert outcome.exit_code == 1


def test_a_missing_operating_point_fails(tmp_path: Path) -> None:
    outcome = judged(tmp_path, of("lc_net", points=MODES[:2], mmacs=MMACS[:2], speeds=(2.0, 1.5)))
    assert ("lc_net", "seed 0", "missing") in verdicts(outcome)
    assert "no operating point parallel" in {f.reason for f in outcome.failing}
    assert outcome.exit_code == 1


def written_but(tmp_path: Path, keep: Callable[[Fake], bool], more: Sequence[Fake] = ()) -> CheckResult:
    made = baseline_of(tmp_path, fakes())
    now = tmp_path / "now"
    write_fakes(now, [*filter(keep, fakes()), *more])
    return check(ResultsFolder(now), ResultsFolder(now).records(), made, parse_rules(DEFAULT_RULES))


def test_a_missing_seed_fails(tmp_path: Path) -> None:
    outcome = written_but(tmp_path, lambda fake: fake.method == "dense" or fake.seed != 2)
    assert verdicts(outcome) == {("lc_net", "seed 2", "missing")}
    assert outcome.exit_code == 1


def test_a_missing_configuration_fails_and_names_what_is_there_instead(tmp_path: Path) -> None:
    other = [replace(fake, lr=0.01) for fake in fakes() if fake.method == "lc_net"]
    outcome = written_but(tmp_path, lambda fake: fake.method == "dense", other)
    assert verdicts(outcome) == {("lc_net", "runs", "missing")}
    assert "there is one with recipe.optimizer.lr 0.01 instead of its default" in outcome.failing[0].reason
    assert outcome.extras == ("lc_net l1_layer=0.1 (resnet20 on cifar10): not in the baseline",)
    assert outcome.exit_code == 1


def test_extra_runs_are_listed_and_do_not_fail(tmp_path: Path) -> None:
    more = [Fake("l_net"), Fake(seed=7, audited=True, layers=LAYERS, error="it broke")]
    outcome = written_but(tmp_path, lambda fake: True, more)
    assert outcome.exit_code == 0
    assert set(outcome.extras) == {
        "l_net (resnet20 on cifar10): not in the baseline",
        "dense (resnet20 on cifar10): seed 7",
    }


def test_a_new_version_of_a_method_is_compared_and_the_latest_run_counts(tmp_path: Path) -> None:
    newer = [replace(fake, version=2, top1=80.0, finished=200.0) for fake in fakes() if fake.method == "dense"]
    outcome = written_but(tmp_path, lambda fake: True, newer)
    assert verdicts(outcome) == {("dense", "test_top1", "regression")}
    assert outcome.extras == ()


def test_other_test_images_cannot_be_judged(tmp_path: Path) -> None:
    outcome = judged(tmp_path, lambda fake: replace(fake, images=IMAGES - 1), {"test_top1": "-0.5pt"})
    assert {f.reason for f in outcome.findings} == {"tested on 399 and on 400 images: not the same test split"}
    assert outcome.exit_code == 2


@pytest.mark.parametrize(
    ("rules", "problem"),
    [({}, "no rules"), ({"realised_best": "-10%"}, "nothing was compared: no rule fits what the baseline holds")],
)
def test_a_check_that_compares_nothing_does_not_pass(tmp_path: Path, rules: dict[str, str], problem: str) -> None:
    try:
        outcome = judged(tmp_path, rules=rules)
    except UserError as error:
        assert str(error).startswith(problem)
    else:
        assert (outcome.exit_code, outcome.unjudged) == (2, problem)


def test_other_data_cannot_be_judged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the results are on digits, the baseline on cifar10: nothing to compare"):
        judged(tmp_path, lambda fake: replace(fake, dataset="digits"))


def test_an_empty_baseline_cannot_be_judged(tmp_path: Path) -> None:
    made = baseline_of(tmp_path, fakes()).model_copy(update={"configurations": ()})
    records = ResultsFolder(tmp_path / "before").records()
    with pytest.raises(UserError, match="the baseline holds no runs"):
        check(ResultsFolder(tmp_path / "before"), records, made, parse_rules(DEFAULT_RULES))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda path: path.unlink(), "cannot read baseline"),
        (lambda path: path.write_text("{"), "damaged or of another version"),
        (
            lambda path: path.write_text(path.read_text().replace('"baseline_version": 1', '"baseline_version": 9')),
            "version 9",
        ),
        (
            lambda path: path.write_text(path.read_text().replace('"correct": "', '"correct": "AAAA')),
            "not those of 400 images",
        ),
        (
            lambda path: path.write_text(path.read_text().replace('"-0.5pt"', '"-0.5"')),
            "rule test_top1: -0.5: 0.5 of what?",
        ),
    ],
    ids=["missing", "damaged", "newer", "bits", "rule"],
)
def test_a_baseline_that_cannot_be_read_is_one_line(
    call: Call, tmp_path: Path, change: Callable[[Path], Any], problem: str
) -> None:
    baseline_of(tmp_path, fakes([0]))
    change(tmp_path / "baseline.json")
    result = call("check", tmp_path / "before", "--baseline", tmp_path / "baseline.json")
    assert result.exit_code == 2
    assert problem in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("damage", ["record", "arrays", "folder"])
def test_results_that_cannot_be_read_cannot_be_judged(call: Call, tmp_path: Path, damage: str) -> None:
    baseline_of(tmp_path, fakes([0]))
    before, run_id = ResultsFolder(tmp_path / "before"), make_run(fakes([0])[0]).run_id
    paths = {"record": before.record_path(run_id), "arrays": before.arrays_path(run_id)}
    paths.get(damage, tmp_path / "x").write_text("{")
    results = tmp_path / "nothing" if damage == "folder" else before
    result = call("check", results, "--baseline", tmp_path / "baseline.json")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")


def test_a_baseline_holds_no_failed_and_no_simulated_runs_unless_told(tmp_path: Path) -> None:
    for name, fake, problem in (
        ("failed", Fake(error="it broke"), "failed: it broke; a baseline holds finished runs only"),
        ("simulated", Fake(audited=False), "was not audited"),
    ):
        write_fakes(tmp_path / name, [fake])
        with pytest.raises(UserError, match=problem):
            make_baseline(
                ResultsFolder(tmp_path / name), ResultsFolder(tmp_path / name).records(), CheckRules(), "a test"
            )
    simulated = ResultsFolder(tmp_path / "simulated").records()
    made = make_baseline(ResultsFolder(tmp_path / "simulated"), simulated, CheckRules(), "a test", simulated=True)
    outcome = check(ResultsFolder(tmp_path / "simulated"), simulated, made, parse_rules({"test_top1": "-1pt"}))
    assert outcome.exit_code == 0


@pytest.mark.parametrize("images", [1, 7, 8, 9, 360])
def test_flags_come_back_from_text(images: int) -> None:
    flags = np.random.default_rng(images).random(images) < 0.7
    assert np.array_equal(unpack_flags(pack_flags(flags), images), flags)


def test_ten_thousand_images_are_small() -> None:
    assert len(pack_flags(np.ones(10_000, bool))) < 1700


def test_the_interval_over_seeds_is_students() -> None:
    before, after = [90.0, 91.0, 90.5], [88.0, 90.0, 89.5]
    expected = stats.ttest_ind(after, before).confidence_interval(0.95)
    assert two_sample_interval(before, after) == pytest.approx((expected.low, expected.high))


def test_the_interval_over_pairs_of_seeds_is_students() -> None:
    before, after = [90.0, 91.0, 90.5], [88.0, 90.0, 89.5]
    expected = stats.ttest_rel(after, before).confidence_interval(0.95)
    assert paired_interval(before, after) == pytest.approx((expected.low, expected.high))


def test_the_interval_of_dynamic_macs_is_no_narrower_than_welchs(tmp_path: Path) -> None:
    """Of one seed; independent of how it is stored."""
    made = baseline_of(tmp_path, fakes([0]))
    now = tmp_path / "now"
    write_fakes(now, [of("lc_net", mmacs=(12.0, 13.0, 14.0))(fake) for fake in fakes([0])])
    other = make_baseline(ResultsFolder(now), ResultsFolder(now).records(), CheckRules(), "a test")
    name, run_id = MODES[0], make_run(fakes([0])[1]).run_id
    before, after = (ResultsFolder(folder).arrays(run_id)[f"{name}/macs"] for folder in (tmp_path / "before", now))
    expected = stats.ttest_ind(after, before, equal_var=False).confidence_interval(0.95)
    macs = [found.configurations[1].runs[0].points[0].macs for found in (made, other)]
    change = macs_change({0: macs[0]}, {0: macs[1]}, IMAGES)
    assert change.interval == pytest.approx((expected.low, expected.high), rel=0.01)
