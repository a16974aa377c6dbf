"""L1 filter pruning: which filters go, what is left, and that the published MACs come out."""

from pathlib import Path
from typing import cast

import pytest
import torch
from dynbench_methods.pruning.filter_pruning import FilterPruning
from pydantic import ValidationError
from torch import nn

from dynbench.backbones import Backbone, build_backbone
from dynbench.backbones.removal import inner_convs, l1_norms, largest
from dynbench.backbones.weights import read_weights, save_weights
from dynbench.build import build_model
from dynbench.cost import dense_macs
from dynbench.data import load_data
from dynbench.estimate.estimate import estimate_cost
from dynbench.execute import execute
from dynbench.latency.timer import Timer
from dynbench.method import FromDense, FromFile
from dynbench.plan.run import Run, Start
from dynbench.record.folder import ResultsFolder
from dynbench.suite.recipe import Cosine, Recipe, Sgd, StepDecay
from dynbench.suite.schema import BackboneSpec, LatencyProtocol
from tests.helpers.small import make_context, make_run, small_backbone
from tests.train.test_resume import Interrupter, assert_same_results

RECIPE = Recipe(epochs=2, batch_size=256, optimizer=Sgd(name="sgd", lr=0.1, momentum=0.8), warmup_epochs=1)


def pruning(**params: object) -> FilterPruning:
    return FilterPruning(FilterPruning.Config.model_validate(params))


def filters(backbone: nn.Module) -> list[int]:
    return [layer.filters for layer in inner_convs(cast("Backbone", backbone))]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Pruning of trained weights from a file, two epochs of retraining."""
    weights = tmp_path / "dense.safetensors"
    torch.manual_seed(3)
    save_weights(build_backbone(BackboneSpec(name="resnet8", width=0.25), (1, 8, 8), 10), weights)
    params = {"ratios": (0.5, 0.3, 0.1), "init": str(weights), "init_epochs": 5, "epochs": 2, "lr": 0.05}
    start = Start(file=str(weights), sha256="0", epochs=5)
    return make_run(FilterPruning, RECIPE, **params).model_copy(update={"start": start})


# What is removed


def test_the_filters_with_the_largest_l1_norms_are_kept_with_everything_that_is_theirs() -> None:
    backbone, whole = small_backbone(), small_backbone()
    pruning(ratios=0.5).prune(backbone)
    for small, large in zip(inner_convs(backbone), inner_convs(whole), strict=True):
        norms = {index: float(weight.abs().sum()) for index, weight in enumerate(large.conv.weight.detach())}
        kept = sorted(sorted(norms, key=lambda index: -norms[index])[: large.filters // 2])
        assert torch.equal(small.conv.weight, large.conv.weight[kept])
        assert torch.equal(small.reader.weight, large.reader.weight[:, kept])
        for name, value in small.norm.state_dict().items():
            expected = large.norm.state_dict()[name]
            assert torch.equal(value, expected[kept] if expected.ndim else expected), name


def test_of_equal_filters_the_first_are_kept() -> None:
    assert largest(torch.tensor([1.0, 2.0, 1.0, 0.5, 1.0]), 3).tolist() == [0, 1, 2]
    conv = nn.Conv2d(2, 3, 1)
    nn.init.constant_(conv.weight, -0.5)
    assert l1_norms(conv).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("ratios", "left"),
    [(0.5, [2, 2, 4, 4]), ((0.3, 0.1), [2, 2, 7, 7]), ((0.0, 0.99), [4, 4, 1, 1]), (None, [2, 2, 4, 4])],
)
def test_a_ratio_for_all_or_for_each_stage_rounded_up(ratios: float | tuple[float, ...], left: list[int]) -> None:
    backbone = small_backbone()
    pruning(ratios=ratios).prune(backbone)
    assert filters(backbone) == left


def test_a_share_counts_as_it_was_written() -> None:
    backbone = build_backbone(BackboneSpec(name="resnet8", width=30 / 16), (3, 8, 8), 10)
    pruning(ratios=0.1).prune(backbone)
    assert filters(backbone) == [27, 54, 108]


PUBLISHED = {
    # Li et al., table 1: MACs to three digits, reduction in per cent.
    "ResNet-56-A": ("resnet56", 0.1, (16, 20, 38, 54), "1.12e+08", 10.4),
    "ResNet-56-B": ("resnet56", (0.6, 0.3, 0.1), (16, 18, 20, 34, 38, 54), "9.09e+07", 27.6),
    "ResNet-110-A": ("resnet110", (0.5, 0.0, 0.0), (36,), "2.13e+08", 15.9),
    # The paper's 38.6 is 38.66 here: cut off there, or from MACs of rounded parts.
    "ResNet-110-B": ("resnet110", (0.5, 0.4, 0.3), (36, 38, 74), "1.55e+08", 38.7),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_macs(name: str) -> None:
    depth, ratios, skip, macs, reduction = PUBLISHED[name]
    backbone = build_backbone(BackboneSpec(name=depth), (3, 32, 32), 10)
    dense = dense_macs(backbone)
    pruning(ratios=ratios, skip=skip).prune(backbone)
    left = dense_macs(backbone)
    assert f"{left:.2e}" == macs
    assert round(100 * (1 - left / dense), 1) == reduction


# What may be asked for


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"ratios": 1.0}, "less than 1"),
        ({"ratios": (0.5, -0.1)}, "greater than or equal to 0"),
        ({"ratios": 0.5, "macs": 0.5}, "ratios or macs, not both"),
        ({"macs": 0.0}, "greater than 0"),
        ({"init": "w.pth"}, "init_epochs is only for"),
        ({"init_epochs": 3}, "init_epochs is only for"),
        ({"init": "w.pth", "init_epochs": 3, "dense_epochs": 1}, "dense_epochs is only for"),
    ],
)
def test_parameters_that_contradict(params: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        pruning(**params)


def test_what_does_not_fit_the_backbone_is_said() -> None:
    assert pruning(ratios=(0.5, 0.1), skip=(2,)).unsupported(small_backbone()) is None
    assert pruning(ratios=(0.5, 0.1, 0.1)).unsupported(small_backbone()) == "ratios: 3 were given for 2 stages"
    reason = pruning(skip=(4, 5)).unsupported(small_backbone())
    assert reason == "skip: layer 5 is none of which filters are removed (2, 4, 6, 8)"
    grouped = small_backbone()
    grouped.get_submodule("layer1.0").conv2 = nn.Conv2d(4, 4, 3, padding=1, groups=2)
    assert "grouped" in str(pruning().unsupported(grouped))


def test_where_it_starts() -> None:
    assert pruning().start() == FromDense()
    assert pruning(dense_epochs=7).start() == FromDense(7)
    assert pruning(init="w.pth", init_epochs=3).start() == FromFile("w.pth", 3)


# Retraining


def test_retraining_is_one_stage_at_a_constant_rate() -> None:
    (stage,) = pruning(epochs=5).stages(RECIPE)
    assert (stage.name, stage.epochs) == ("retrain", 5)
    assert [stage.schedule(epoch) for epoch in (0.1, 2.0, 5.0)] == [1, 1, 1]
    (group,) = stage.optimizer(small_backbone()).param_groups
    assert [group[key] for key in ("lr", "momentum", "weight_decay", "nesterov")] == [1e-3, 0.8, 5e-4, True]


def test_rewound_it_is_the_recipe_over_other_epochs() -> None:
    recipe = RECIPE.model_copy(update={"epochs": 10, "schedule": StepDecay(name="step", milestones=(6,))})
    (stage,) = pruning(epochs=5, lr=None).stages(recipe)
    assert stage.optimizer(small_backbone()).param_groups[0]["lr"] == 0.1
    assert [stage.schedule(epoch) for epoch in (0.5, 2.9, 3.0)] == pytest.approx([0.5, 1, 0.1])
    (stage,) = pruning(epochs=4, lr=None).stages(RECIPE.model_copy(update={"schedule": Cosine(name="cosine")}))
    assert stage.schedule(4.0) == pytest.approx(0)


def test_the_trained_net_is_pruned_and_only_then_retrained(run: Run, tmp_path: Path) -> None:
    """Everything is as in the file, but for what was removed, until the first step."""
    model = build_model(run, run.make_method(), load_data(run.data), make_context(tmp_path))
    assert filters(model) == [4, 8, 16]
    (stage,) = run.make_method().stages(RECIPE)
    assert stage.edit is not None
    stage.edit(model)
    assert filters(model) == [2, 5, 14]
    given = read_weights(tmp_path / "dense.safetensors")
    kept = largest(given["layer1.0.conv1.weight"].abs().sum((1, 2, 3)), 2)
    assert torch.equal(dict(model.named_parameters())["layer1.0.conv1.weight"], given["layer1.0.conv1.weight"][kept])
    optimised = [value for group in stage.optimizer(model).param_groups for value in group["params"]]
    assert {id(value) for value in optimised} == {id(value) for value in model.parameters()}


# Whole runs


def test_a_run_is_audited_costs_what_was_estimated_and_is_timed_as_it_was_trained(run: Run, tmp_path: Path) -> None:
    timer = Timer(
        ResultsFolder(tmp_path),
        LatencyProtocol(images=4, rounds=1, batches=(1,), threads=1),
        "cpu",
        None,
        "dynbench run",
    )
    record = execute(run, make_context(tmp_path), timer)
    assert record.status == "finished", record.traceback
    (point,) = record.points
    assert point.audited
    assert point.macs.max == point.macs.mean == estimate_cost(run).macs < record.macs_dense
    assert record.budget.stages[0].train_macs == estimate_cost(run).own_train_macs
    assert point.latency is not None
    assert point.latency.timings[0].macs_mean == point.macs.mean


def test_interrupted_anywhere_it_ends_the_same(run: Run, tmp_path: Path) -> None:
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    execute(run, make_context(whole))
    for place in (("retrain", 0), ("retrain", 1), ("retrain", 2)):
        with pytest.raises(KeyboardInterrupt):
            execute(run, make_context(pieces, Interrupter(*place)))
    execute(run, make_context(pieces))
    assert_same_results(pieces, whole)
