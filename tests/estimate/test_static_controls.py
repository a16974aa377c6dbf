"""Static controls of dynamic runs, planned from finished records: of the same MACs, budget and seeds."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from dynbench_methods.dense import Dense
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dynbench.backbones import build_backbone
from dynbench.backbones.weights import save_weights
from dynbench.cli.options import read_suite
from dynbench.cost import dense_macs
from dynbench.estimate.estimate import estimate_cost
from dynbench.estimate.estimates import Estimates
from dynbench.estimate.static_controls import Controls, plan_controls, width_near
from dynbench.method import LayerUsage, Output, Point
from dynbench.plan.expand import Suite, expand_suite
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Record
from dynbench.suite.schema import BackboneSpec
from tests.conftest import Call, Register
from tests.helpers.records import Fake, make_record

SUITE = """\
name: controlled
data: cifar10
backbones: [resnet20]
recipe: {epochs: 22}
seeds: [0, 1]
controls: true
methods:
  - dense
  - {name: lc_net, params: {l1_channel: 0.5}}
"""
SHAPE = (3, 32, 32)


class Skips(Dense):
    """Says that one layer is skipped, on every image."""

    static = False

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        nothing = LayerUsage(positions=torch.zeros(len(x), dtype=torch.float64))
        return [Output(model(x), {"layer3.0.conv2": nothing}) for _ in points]

    def executor(self, model: nn.Module, point: Point) -> None:  # type: ignore[override]
        return None


def suite_of(folder: Path, text: str = SUITE, **options: Any) -> Suite:
    path = folder / "controlled.yaml"
    path.write_text(text)
    return read_suite(path, **options)


def finished(run: Run, mmacs: float) -> Record:
    """A record of the run that costs `mmacs` on validation images, and another sum on test images."""
    record, _ = make_record(Fake(mmacs=(mmacs,)))
    (point,) = record.points
    test = point.macs.model_copy(update={"mean": 3e6 * mmacs})
    points = (point.model_copy(update={"macs": test}),)
    return record.model_copy(update={"run": run, "run_id": run.run_id, "points": points})


def controls_of(suite: Suite, mmacs: Sequence[float] = (15.0, 16.0), method: str = "lc_net") -> Controls:
    """The controls once the suite's runs have finished, those of `method` with these MACs, seed by seed."""
    runs = expand_suite(suite)
    dynamic = [run for run in runs if run.method == method]
    costs = {run.run_id: cost for run, cost in zip(dynamic, mmacs, strict=True)}
    records = [finished(run, costs.get(run.run_id, 40.55)) for run in runs]
    return plan_controls(suite, runs, records, Estimates(suite.file.limits))


def macs_of(run: Run) -> int:
    return dense_macs(build_backbone(run.built, SHAPE, 10))


def chosen(controls: Controls, method: str) -> list[Run]:
    return [run for run in controls.runs if run.method == method]


def test_controls_have_the_mean_validation_macs_the_epochs_and_the_seeds(tmp_path: Path) -> None:
    controls = controls_of(suite_of(tmp_path))
    start, narrow = (
        [run for run in chosen(controls, "dense") if (run.built.width == 1) is whole] for whole in (True, False)
    )
    pruned = chosen(controls, "filter_pruning")
    assert [run.seed for run in narrow] == [run.seed for run in pruned] == [run.seed for run in start] == [0, 1]
    assert {run.given["width"] for run in narrow} == {narrow[0].built.width}
    assert macs_of(narrow[0]) == pytest.approx(15.5e6, rel=0.03)
    assert [run.epochs for run in narrow] == [22, 22]
    assert {run.params["macs"] for run in pruned} == {round(15.5e6 / 40551040, 4)}
    assert [(run.start.epochs if run.start else None, run.epochs) for run in pruned] == [(11, 11)] * 2
    assert estimate_cost(pruned[0]).macs == pytest.approx(15.5e6, rel=0.005)
    assert [run.needs() for run in pruned] == [run.run_id for run in start]
    assert (controls.waiting, controls.left_out) == ((), ())
    assert controls.runs.index(start[0]) < controls.runs.index(pruned[0])


def test_controls_have_the_suites_ids_whether_they_are_planned_or_asked_for(tmp_path: Path) -> None:
    suite = suite_of(tmp_path)
    (narrow, _) = [run for run in chosen(controls_of(suite), "dense") if run.built.width < 1]
    asked = SUITE.replace("- dense", f"- {{name: dense, params: {{width: {narrow.given['width']}}}}}")
    assert narrow.run_id in {run.run_id for run in expand_suite(suite_of(tmp_path, asked))}
    without = suite_of(tmp_path, SUITE.replace("controls: true", "controls: false"))
    assert [run.run_id for run in expand_suite(without)] == [run.run_id for run in expand_suite(suite)]


def test_nothing_is_planned_before_every_seed_has_finished(tmp_path: Path) -> None:
    suite = suite_of(tmp_path)
    runs = expand_suite(suite)
    records = [finished(run, 15.0) for run in runs if run.seed == 0]
    estimates = Estimates(suite.file.limits)
    assert plan_controls(suite, runs, records, estimates) == Controls((), ("lc_net l1_channel=0.5",), ())
    failed = [finished(run, 15.0).model_copy(update={"status": "failed", "points": ()}) for run in runs]
    assert plan_controls(suite, runs, failed, estimates).waiting == ("lc_net l1_channel=0.5",)


def test_a_dense_run_of_the_suite_that_matches_is_the_control(tmp_path: Path) -> None:
    text = SUITE.replace("- dense", "- {name: dense, params: {width: 0.43}}")
    suite = suite_of(tmp_path, text)
    for mmacs in ((7.85, 7.87), (7.8, 7.82)):  # 0.8 % less is nearest to the same net at another width
        assert [run.built.width for run in chosen(controls_of(suite, mmacs), "dense")] == [1.0, 1.0]
    assert {run.built.width for run in chosen(controls_of(suite, (7.0, 7.0)), "dense")} > {1.0}


def test_pretraining_is_part_of_the_budget(tmp_path: Path) -> None:
    text = SUITE.replace("{l1_channel: 0.5}", "{init: dense}")
    controls = controls_of(suite_of(tmp_path, text))
    assert {run.params["epochs"] for run in chosen(controls, "dense")} == {44, None}
    assert {run.built.width for run in chosen(controls, "dense") if run.params["epochs"] is None} == {1.0}
    pruned = chosen(controls, "filter_pruning")
    assert [(run.start.epochs if run.start else None, run.epochs) for run in pruned] == [(22, 22)] * 2
    assert {run.given.get("dense_epochs") for run in pruned} == {None}


def test_controls_of_a_method_from_a_file_prune_that_file(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    save_weights(build_backbone(BackboneSpec(name="resnet20"), SHAPE, 10), weights)
    text = SUITE.replace("{l1_channel: 0.5}", f"{{init: {weights}, init_epochs: 160}}")
    controls = controls_of(suite_of(tmp_path, text))
    assert {run.epochs for run in chosen(controls, "dense")} == {182}
    for run in chosen(controls, "filter_pruning"):
        assert run.start is not None
        assert (run.start.file, run.start.epochs, run.epochs) == (str(weights), 160, 22)


def test_a_control_that_cannot_be_is_left_out_with_its_reason(tmp_path: Path) -> None:
    expensive = controls_of(suite_of(tmp_path), (41.0, 41.0))
    assert [run.method for run in expensive.runs] == ["dense", "dense"]
    assert expensive.left_out == (
        "control filter_pruning of lc_net l1_channel=0.5 (resnet20): "
        "the method spends 101.1% of the dense backbone's MACs",
    )
    short = controls_of(suite_of(tmp_path, epochs=1))
    assert short.left_out[0].endswith("1 epochs cannot be divided into a dense start and retraining")
    capped = suite_of(tmp_path, settings=["budget.epochs=21"])
    assert [line.rpartition("exceeds the budget: ")[2] for line in controls_of(capped).left_out] == [
        "22 epochs of 21",
        "22 epochs of 21",
    ]
    assert controls_of(capped).runs == ()


def with_curve(run: Run, points: dict[str, tuple[float, float]]) -> Record:
    """A record with operating points of this many MMACs and such an accuracy on validation images."""
    record = finished(run, 1.0)
    (point,) = record.points
    made = (
        point.model_copy(update={"name": name, "val_macs": 1e6 * mmacs, "val_top1": top1})
        for name, (mmacs, top1) in points.items()
    )
    return record.model_copy(update={"points": tuple(made), "macs_dense": 40551040})


def curve_controls(suite: Suite, points: dict[str, tuple[float, float]]) -> Controls:
    runs = expand_suite(suite)
    records = [with_curve(run, points) if run.method == "lc_net" else finished(run, 40.55) for run in runs]
    return plan_controls(suite, runs, records, Estimates(suite.file.limits))


def test_a_curve_gets_controls_at_both_ends_and_between(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, SUITE.replace("seeds: [0, 1]", "seeds: [0]"))
    points = {"b": (12.0, 85.0), "a": (8.0, 80.0), "c": (20.0, 88.0), "d": (30.0, 90.0), "never": (41.0, 91.0)}
    controls = curve_controls(suite, points)
    widths = sorted(macs_of(run) for run in chosen(controls, "dense") if run.built.width < 1)
    assert widths == [
        pytest.approx(8e6, rel=0.03),
        pytest.approx(12e6, rel=0.03),
    ]  # 41 M: the dense net itself
    assert {run.built.width <= 1 for run in controls.runs} == {True}
    shares = {run.params["macs"] for run in chosen(controls, "filter_pruning")}
    assert shares == {round(8e6 / 40551040, 4), round(12e6 / 40551040, 4)}
    (left_out,) = controls.left_out
    assert left_out.startswith("control filter_pruning of lc_net l1_channel=0.5, never (resnet20): ")
    without = {name: point for name, point in points.items() if name != "b"}
    shares = {run.params["macs"] for run in chosen(curve_controls(suite, without), "filter_pruning")}
    assert shares == {round(8e6 / 40551040, 4), round(30e6 / 40551040, 4)}


def test_cost_modes_of_the_same_answers_are_one_trade(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, SUITE.replace("seeds: [0, 1]", "seeds: [0]"))
    modes = {"sequential": (8.0, 90.0), "parallel": (20.0, 90.0)}
    assert curve_controls(suite, modes) == curve_controls(suite, {"default": (8.0, 90.0)})


@cache
def small_macs(width: float) -> int:
    return dense_macs(build_backbone(BackboneSpec(name="resnet8", width=width), (1, 8, 8), 10))


@settings(max_examples=5, deadline=None)
@given(st.floats(0.05, 1.2))
def test_no_other_width_is_nearer(share: float) -> None:
    """Against widths in steps of a twentieth of the suite's, which is a half."""
    spec = BackboneSpec(name="resnet8", width=0.5)
    target = share * small_macs(0.5)
    width = width_near(spec, target, (1, 8, 8), 10)
    nearest = min((small_macs(0.5 * (step / 20)) for step in range(2, 25)), key=lambda cost: abs(cost - target))
    assert abs(small_macs(0.5 * width) - target) <= abs(nearest - target)
    assert width == round(width, 3)


def test_the_whole_width_is_one_and_short_numbers_are_taken() -> None:
    spec = BackboneSpec(name="resnet20")
    assert width_near(spec, 40551040, SHAPE, 10) == 1.0
    assert width_near(spec, 7.87e6, SHAPE, 10) in {0.43, 0.44}


TINY = """\
name: tiny
data: digits
backbones: [{name: resnet8, width: 0.25}]
recipe: {epochs: 2, batch_size: 128}
methods:
  - skips
controls: true
tracking: none
latency: none
"""


def test_run_does_the_suite_then_its_controls_and_a_second_run_does_nothing(
    call: Call, register: Register, tmp_path: Path
) -> None:
    register("skips", Skips)
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    results = tmp_path / "results"
    planned = call("plan", path, "--results", results)
    assert "controls are planned when these have finished: skips" in planned.stdout
    first = call("run", path, "--results", results)
    assert first.exit_code == 0, first.output
    records = {record.run_id: record for record in ResultsFolder(results).records()}
    assert sorted(record.run.method for record in records.values()) == ["dense", "dense", "filter_pruning", "skips"]
    assert {record.run.method: record.static for record in records.values()} == {
        "dense": True,
        "filter_pruning": True,
        "skips": False,
    }
    assert "[4/4] filter_pruning" in first.stdout
    again = call("run", path, "--results", results)
    assert "all 4 runs are finished" in again.stdout
    shown = call("plan", path, "--results", results)
    assert shown.stdout.count("finished *") == 3
    assert "when these have finished" not in shown.stdout
