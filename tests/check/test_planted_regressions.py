"""Regressions planted in the code, with real trainings on the digits: each is caught, and none where there is none."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from dynbench_methods.lc_net import method as lc_net
from torch import nn
from torch.optim import Optimizer

import dynbench.build
import dynbench.evaluation.trained
import dynbench.execute
import dynbench.stage
from dynbench.check.check_records import check
from dynbench.check.make import make_baseline
from dynbench.check.outcome import CheckResult
from dynbench.cli.options import read_suite
from dynbench.context import Context
from dynbench.cost import LayerCost, static_costs
from dynbench.evaluation.audit import Audit
from dynbench.evaluation.trained import Trained
from dynbench.guards.tampering import seal
from dynbench.launch.sequential import SuiteRunner
from dynbench.observer import Observer
from dynbench.plan.expand import expand_suite
from dynbench.plan.run import derived_seed
from dynbench.record.folder import ResultsFolder
from dynbench.stage import make_optimizer
from dynbench.suite.recipe import OptimizerSpec
from dynbench.suite.rules import parse_rules
from dynbench.suite.schema import CheckRules

SUITE = """\
name: planted
data: digits
backbones: [{name: resnet8, width: 0.5}]
recipe: {epochs: 5, batch_size: 64, warmup_epochs: 1}
seeds: [0, 1, 2]
methods:
  - dense
  - {name: c_net, params: {l1_channel: 1.0}}
evaluation: {validate_every: 5}
"""
RULES = {"macs_layers": "0", "macs_mean": "+25%", "test_top1": "-1pt"}


def train(folder: Path, methods: str) -> Path:
    """Results of the suite's `methods`, by the code as it is now; in this process."""
    seal.cache_clear()  # a plant is a mistake in the harness itself, not something that a plugin did to it
    suite = folder / "planted.yaml"
    suite.write_text(SUITE)
    read = read_suite(suite, methods=methods)
    context = Context(
        ResultsFolder(folder / "results"),
        torch.device("cpu"),
        None,
        read.file.evaluation,
        Observer(),
        "a test",
        "unknown",
    )
    SuiteRunner(expand_suite(read), context).run()
    return folder / "results"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the code without a plant results in."""
    return train(tmp_path_factory.mktemp("sound"), "dense,c_net")


def against(sound: Path, results: Path) -> CheckResult:
    """The methods of `results` against their baseline."""
    records = ResultsFolder(results).records()
    methods = {record.run.method for record in records}
    before = [record for record in ResultsFolder(sound).records() if record.run.method in methods]
    made = make_baseline(ResultsFolder(sound), before, CheckRules(**RULES), "a test")
    return check(ResultsFolder(results), records, made, parse_rules(made.rules.given))


def failing(outcome: CheckResult) -> set[tuple[str, str]]:
    return {(finding.subject, str(finding.verdict)) for finding in outcome.failing}


def test_other_trainings_of_the_same_code_pass(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other initial weights stand for another torch version or CPU, which trains other nets from the same seed."""
    monkeypatch.setattr(dynbench.build, "derived_seed", lambda seed, part: derived_seed(seed + 100, part))
    outcome = against(sound, train(tmp_path, "dense,c_net"))
    changes = [finding.change for finding in outcome.findings if finding.change and finding.subject == "test_top1"]
    assert any(change.difference for change in changes)  # they are others
    assert failing(outcome) == set()
    assert outcome.exit_code == 0


def test_gates_that_stop_closing_are_caught(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their L1 term is lost from the loss: the accuracy does not suffer."""
    monkeypatch.setattr(lc_net, "mean_absolute", lambda scores: torch.zeros(()))
    outcome = against(sound, train(tmp_path, "c_net"))
    assert outcome.exit_code == 1
    assert failing(outcome) == {("macs_mean", "regression")}
    assert {finding.point for finding in outcome.failing} == {"sequential", "parallel_cancel", "parallel"}


LAYER = "layer2.0.conv2"


def counted_twice(model: nn.Module, shape: tuple[int, int, int]) -> tuple[LayerCost, ...]:
    """A formula that is wrong for one layer."""
    costs = static_costs(model, shape)
    return tuple(replace(cost, macs=2 * cost.macs) if cost.name == LAYER else cost for cost in costs)


def test_a_mac_formula_that_is_off_by_one_layer_is_caught(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the audit of every run, which then has failed."""
    monkeypatch.setattr(dynbench.evaluation.trained, "static_costs", counted_twice)
    outcome = against(sound, train(tmp_path, "dense"))
    assert outcome.exit_code == 1
    assert failing(outcome) == {(f"seed {seed}", "failed") for seed in range(3)}
    assert all(LAYER in finding.reason for finding in outcome.failing)


def test_it_is_caught_when_the_audit_is_wrong_with_it(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def content(trained: Trained, images: object) -> tuple[Audit, ...]:
        return tuple(Audit(point.name, 16, 0.0) for point in trained.points)

    monkeypatch.setattr(dynbench.evaluation.trained, "static_costs", counted_twice)
    monkeypatch.setattr(Trained, "audit", content)
    outcome = against(sound, train(tmp_path, "dense"))
    assert outcome.exit_code == 1
    assert failing(outcome) == {("macs_layers", "regression"), ("macs_mean", "regression")}
    (layers,) = [finding for finding in outcome.failing if finding.subject == "macs_layers"]
    assert layers.reason.startswith(f"{LAYER}: ")


def test_a_tenth_of_the_learning_rate_is_caught(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slower(spec: OptimizerSpec, model: nn.Module, rates: Mapping[str, float] | None = None) -> Optimizer:
        return make_optimizer(spec.model_copy(update={"lr": spec.lr / 10}), model, rates)

    monkeypatch.setattr(dynbench.stage, "make_optimizer", slower)
    outcome = against(sound, train(tmp_path, "dense"))
    assert outcome.exit_code == 1
    assert failing(outcome) == {("test_top1", "regression")}


def test_the_rules_are_those_of_the_projects_own_suite() -> None:
    own = read_suite(Path(__file__).parents[2] / "suites" / "ci.yaml").file.check
    assert own == CheckRules(**RULES)
