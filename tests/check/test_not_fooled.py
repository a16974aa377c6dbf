"""Ways in which something worse once passed, or could: none does."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dynbench.check.check_records import check
from dynbench.check.make import make_baseline
from dynbench.check.outcome import CheckResult
from dynbench.errors import UserError
from dynbench.plan.run import Start
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Budget
from dynbench.suite.rules import parse_rules
from dynbench.suite.schema import CheckRules
from tests.conftest import Call
from tests.helpers.records import Fake, make_record, write_fakes

RULES = {"macs_mean": "+25%", "test_top1": "-1pt", "train_macs": "+5%"}
SEEDS = (0, 1, 2)


def fakes() -> list[Fake]:
    return [Fake("lc_net", {}, seed, top1=97.0, mmacs=(10.0 + seed / 10,), spread=0.2, audited=True) for seed in SEEDS]


def outcome(tmp_path: Path, now: list[Fake]) -> CheckResult:
    before, after = ResultsFolder(tmp_path / "before"), ResultsFolder(tmp_path / "after")
    made = make_baseline(before, write_fakes(before.path, fakes()), CheckRules(**RULES), "a test")
    write_fakes(after.path, now)
    return check(after, after.records(), made, parse_rules(RULES))


def of_each(name: str, *values: Any) -> list[Fake]:
    """The fakes, one thing changed of each seed."""
    return [replace(fake, **{name: value}) for fake, value in zip(fakes(), values, strict=True)]


WORSE = {
    "one seed of three collapses": (of_each("top1", 97.0, 97.0, 10.0), 1),
    "one seed collapses, others gain": (of_each("top1", 100.0, 100.0, 92.0), 1),
    "seeds lose unequally": (of_each("top1", 97.0, 96.5, 94.25), 2),
    "three times the MACs of one seed": (of_each("mmacs", (10.0,), (10.1,), (30.6,)), 1),
    "MACs worse by 5, 20 and 60 %": (of_each("mmacs", (10.5,), (12.12,), (16.32,)), 2),
    "nothing": (fakes(), 0),
}


@pytest.mark.parametrize("name", WORSE)
def test_the_more_unequal_a_loss_is_the_less_it_passes(tmp_path: Path, name: str) -> None:
    now, expected = WORSE[name]
    assert outcome(tmp_path, now).exit_code == expected


def test_a_seed_that_costs_ten_times_the_training_is_a_regression(tmp_path: Path) -> None:
    before = ResultsFolder(tmp_path / "before")
    made = make_baseline(before, write_fakes(before.path, fakes()), CheckRules(**RULES), "a test")
    record, arrays = make_record(fakes()[1])
    (stage,) = record.budget.stages
    budget = Budget(stages=(stage.model_copy(update={"train_macs": 10 * stage.train_macs}),))
    before.write_record(record.model_copy(update={"budget": budget}), arrays)
    found = check(before, before.records(), made, parse_rules(RULES))
    assert [(finding.subject, str(finding.verdict)) for finding in found.failing] == [("train_macs", "regression")]
    assert found.failing[0].change is not None
    assert found.failing[0].change.interval is None


@pytest.mark.parametrize(
    ("better", "worse", "expected"),
    [((1, 100.0), (2, 200.0), 1), ((1, 100.0), (2, 50.0), 1), ((2, 100.0), (1, 200.0), 2)],
    ids=["newer and later", "newer, and its clock ran behind", "older, and run later"],
)
def test_an_older_better_record_beside_a_newer_worse_one_does_not_pass(
    tmp_path: Path, better: tuple[int, float], worse: tuple[int, float], expected: int
) -> None:
    """Each a version of the method, and the time when it was run."""
    (version, finished), (other, last) = better, worse
    now = [replace(fake, version=version, finished=finished) for fake in fakes()]
    found = outcome(tmp_path, [*now, *(replace(fake, version=other, finished=last, top1=80.0) for fake in fakes())])
    assert found.exit_code == expected
    if expected == 2:
        assert "which is the later run is not certain" in str(found.unjudged)


def test_no_clock_says_which_of_two_runs_of_one_version_counts(tmp_path: Path) -> None:
    """There are two where the run that they start from was made again."""
    results = ResultsFolder(tmp_path)
    for dense, top1, finished in (("a", 97.0, 100.0), ("b", 80.0, 200.0)):
        record, arrays = make_record(replace(fakes()[0], top1=top1, finished=finished))
        run = record.run.model_copy(update={"start": Start(run_id=dense)})
        results.write_record(record.model_copy(update={"run": run, "run_id": run.run_id}), arrays)
    with pytest.raises(UserError, match="which is the later run is not certain"):
        make_baseline(results, results.records(), CheckRules(**RULES), "a test")


def put(*place: str | int, value: Any) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        for part in place[:-1]:
            content = content[part]
        content[place[-1]] = value

    return change


def again(*place: str | int) -> Callable[[Any], None]:
    """The first of a list occurs twice."""

    def change(content: Any) -> None:
        for part in place:
            content = content[part]
        content.append(content[0])

    return change


RUN: tuple[str | int, ...] = ("configurations", 0, "runs", 0)
POINT: tuple[str | int, ...] = (*RUN, "points", 0)
DAMAGED = {
    "no runs": put("configurations", 0, "runs", value=[]),
    "no points": put(*RUN, "points", value=[]),
    "a seed twice": again("configurations", 0, "runs"),
    "a point twice": again(*RUN, "points"),
    "a configuration twice": again("configurations"),
    "an infinite deviation": put(*POINT, "macs", "deviation", value=float("inf")),
    "a deviation that is NaN": put(*POINT, "macs", "deviation", value=float("nan")),
    "a negative deviation": put(*POINT, "macs", "deviation", value=-1.0),
    "no MACs": put(*POINT, "macs", "mean", value=0),
    "infinite MACs": put(*POINT, "macs", "mean", value=float("inf")),
    "no images": put(*POINT, "images", value=0),
    "negative training": put(*RUN, "train_macs", value=-1),
    "training beyond 64 bits": put(*RUN, "train_macs", value=2**63),
    "a seed beyond 64 bits": put(*RUN, "seed", value=2**64),
    "on no data": put("configurations", 0, "identity", value={}),
    "on strange data": put("configurations", 0, "identity", "data", value=[1]),
    "layers that are text": put(*RUN, "layers", value={"conv1": "many"}),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_baseline_is_refused(tmp_path: Path, call: Call, name: str) -> None:
    write_fakes(tmp_path, fakes())
    path = tmp_path / "baseline.json"
    assert call("baseline", tmp_path, "-o", path).exit_code == 0
    content = json.loads(path.read_bytes())
    DAMAGED[name](content)
    path.write_text(json.dumps(content))
    refused = call("check", tmp_path, "--baseline", path)
    assert refused.exit_code == 2
    assert "is damaged or of another version" in refused.stderr
    assert refused.stderr.count("\n") == 1
