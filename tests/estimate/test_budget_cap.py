"""A suite's budget: what exceeds it is refused before anything is trained."""

from pathlib import Path
from typing import Any

import pytest

from dynbench.backbones import build_backbone
from dynbench.backbones.weights import save_weights
from dynbench.cli.options import read_suite
from dynbench.cost import dense_macs
from dynbench.errors import UserError
from dynbench.estimate.budget_cap import check_budget
from dynbench.estimate.estimate import estimate_cost
from dynbench.estimate.estimates import Estimates
from dynbench.estimate.plan import make_plan
from dynbench.plan.expand import expand_suite
from dynbench.record.folder import ResultsFolder
from dynbench.suite.schema import BackboneSpec
from tests.conftest import Call

SUITE = """\
name: capped
data: digits
backbones: [{name: resnet8, width: 0.25}]
recipe: {epochs: 2, batch_size: 128}
seeds: [0, 1]
methods:
  - dense
  - {name: lc_net, params: {init: dense, l1_layer: 0.1}}
tracking: none
latency: none
budget: {BUDGET}
"""


def write(folder: Path, budget: str) -> Path:
    path = folder / "capped.yaml"
    path.write_text(SUITE.replace("BUDGET", budget))
    return path


def refusal(folder: Path, budget: str, **options: Any) -> str:
    suite = read_suite(write(folder, budget), **options)
    with pytest.raises(UserError) as caught:
        make_plan(suite, ResultsFolder(folder / "results"))
    return str(caught.value).replace(f"{folder}/", "")


def test_pretraining_counts_and_every_run_is_named_with_its_line(tmp_path: Path) -> None:
    assert refusal(tmp_path, "epochs: 3") == (
        "capped.yaml:8: lc_net l1_layer=0.1 init=dense (resnet8, seed 0, 1) exceeds the budget: 4 epochs of 3; "
        "train for less, or raise the budget at capped.yaml:11"
    )
    both = refusal(tmp_path, "epochs: 1")
    assert both.startswith("capped.yaml:7: dense (resnet8, seed 0, 1) exceeds the budget: 2 epochs of 1; capped.yaml:8")
    assert refusal(tmp_path, "", settings=["budget.epochs=3"]).endswith("raise the budget at --set budget.epochs=3")


def test_training_macs_are_capped_as_they_are_estimated(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path, ""))
    runs = expand_suite(suite)
    costs = sorted(estimate_cost(run).train_macs for run in runs)
    assert costs[-1] > 1.9 * costs[0]
    between = refusal(tmp_path, f"train_macs: {1.5 * costs[0]:.6e}")
    assert " dense (resnet8" not in between
    cap, highest = 1.5 * costs[0], costs[-1]
    assert f"{highest:.4g} MACs of training of {cap:.4g} ({highest / cap:.3g} times)" in between
    enough = read_suite(write(tmp_path, f"train_macs: {costs[-1]}, epochs: 4"))
    check_budget(enough, runs, Estimates(enough.file.limits))


def test_caps_are_positive_numbers_as_yaml_writes_them(tmp_path: Path) -> None:
    assert read_suite(write(tmp_path, "train_macs: 2.0e15")).file.budget.train_macs == 2e15
    with pytest.raises(UserError, match=r"capped\.yaml:11: budget\.train_macs: expected a number greater than 0"):
        read_suite(write(tmp_path, "train_macs: 0"))
    with pytest.raises(UserError, match=r'unknown key "budget\.macs"; did you mean "train_macs"\?'):
        read_suite(write(tmp_path, "macs: 1"))


def test_the_estimate_is_what_the_record_says_was_spent(tmp_path: Path, call: Call) -> None:
    """Of the run and of the dense net that it started from."""
    path, results = write(tmp_path, "epochs: 4"), tmp_path / "results"
    assert call("run", path, "--results", results, "--seeds", "0").exit_code == 0
    for record in ResultsFolder(results).records():
        cost = estimate_cost(record.run)
        assert (cost.epochs, cost.train_macs) == (record.budget.epochs, record.budget.train_macs)
        assert cost.pretrained_train_macs == record.budget.pretrained_train_macs


def test_a_files_training_is_assumed(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    backbone = build_backbone(BackboneSpec(name="resnet8", width=0.25), (1, 8, 8), 10)
    save_weights(backbone, weights)
    params = f"methods=[{{name: lc_net, params: {{init: {weights}, init_epochs: 7}}}}]"
    (run,) = expand_suite(read_suite(write(tmp_path, ""), settings=[params], seeds="0"))
    assert estimate_cost(run).pretrained_train_macs == 7 * (1437 - 180) * 3 * dense_macs(backbone)


@pytest.mark.parametrize("command", ["plan", "run"])
def test_nothing_is_trained(command: str, tmp_path: Path, call: Call) -> None:
    result = call(command, write(tmp_path, "epochs: 3"), "--results", tmp_path / "results")
    assert result.exit_code == 2
    assert "exceeds the budget: 4 epochs of 3" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "results").exists()
