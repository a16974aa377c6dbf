"""NISP: features are ranked, their importance is propagated, the least important filters go."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from dynbench_methods.pruning.importance import final_responses, inf_fs, propagate
from dynbench_methods.pruning.nisp import Nisp
from pydantic import ValidationError
from scipy.stats import spearmanr
from torch import nn
from torch.nn.functional import conv2d, conv_transpose2d

from dynbench.backbones import Backbone, build_backbone
from dynbench.backbones.removal import inner_convs
from dynbench.backbones.residual import BasicBlock, ResNet
from dynbench.build import build_model
from dynbench.cost import dense_macs
from dynbench.data import load_data
from dynbench.estimate.estimate import estimate_cost
from dynbench.execute import execute
from dynbench.stage import Stage
from dynbench.suite.recipe import Recipe
from dynbench.suite.schema import BackboneSpec, DataSpec
from dynbench.train.session import Session
from tests.helpers.small import CLASSES, make_context, make_run, random_images, small_backbone
from tests.train.test_resume import Interrupter, assert_same_results


def nisp(**params: object) -> Nisp:
    return Nisp(Nisp.Config.model_validate(params))


def filters(backbone: nn.Module) -> dict[str, int]:
    return {layer.name: layer.filters for layer in inner_convs(cast("Backbone", backbone))}


# Infinite feature selection


def features(samples: int = 40, count: int = 5) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, count)) * np.arange(1, count + 1)
    x[:, 1] = np.maximum(x[:, 1], 0)  # ties, as ReLU makes them
    x[:, 4] = x[:, 3] ** 3
    return x


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_inf_fs_sums_paths_of_every_length(alpha: float) -> None:
    x = features()
    spread = x.std(0)
    pairs = np.array([[max(a, b) for b in spread] for a in spread])
    pairs = (pairs - pairs.min()) / (pairs.max() - pairs.min())
    adjacency = alpha * pairs + (1 - alpha) * (1 - abs(np.asarray(spearmanr(x).statistic)))
    step = 0.9 / max(abs(np.linalg.eigvals(adjacency))) * adjacency
    power, total = step, np.zeros_like(step)
    for _ in range(400):
        total, power = total + power, power @ step
    np.testing.assert_allclose(inf_fs(x, alpha), total.sum(1), rtol=1e-9)


def test_features_that_vary_more_and_repeat_less_are_more_important() -> None:
    x = features()
    assert np.argmax(inf_fs(x, 1.0)) == 4
    assert set(np.argsort(inf_fs(x, 0.0))[:2]) == {3, 4}  # each the other's, in rank


def test_constant_features_and_equal_ones_have_finite_scores() -> None:
    x = features()
    x[:, 0] = 0
    assert np.isfinite(inf_fs(x)).all()
    assert np.isfinite(inf_fs(np.ones((4, 3)))).all()


# Propagation


def test_final_responses_are_what_the_classifier_reads() -> None:
    backbone, x = small_backbone().train(), random_images(7)
    responses = final_responses(backbone, x, batch=3)
    assert backbone.training
    backbone.eval()
    with torch.no_grad():
        torch.testing.assert_close(backbone.linear(responses), backbone(x))


def absolute(block: nn.Module, conv: str) -> torch.Tensor:
    """|W| of a convolution with its BN folded in."""
    layer, norm = block.get_submodule(conv), block.get_submodule(conv.replace("conv", "bn"))
    assert isinstance(layer, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (layer.weight * scale[:, None, None, None]).abs().detach().double()


@pytest.mark.parametrize("option", ["A", "B"])
def test_importance_goes_back_as_through_a_transposed_net_of_absolute_weights(option: str) -> None:
    """On single pixels, where the borders leave each kernel its middle only: |W|^T of every layer, one by one."""
    torch.manual_seed(0)
    backbone = ResNet(BasicBlock, ((4, 1), (6, 1)), (3, 1, 1), CLASSES, option).eval()
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            middle = module.weight.detach()[:, :, 1:2, 1:2].clone()
            nn.init.zeros_(module.weight)
            module.weight.data[:, :, 1:2, 1:2] = middle
    final = torch.rand(6, dtype=torch.float64)
    scores = propagate(backbone, final)
    first, second = (block for _, block in backbone.named_blocks())

    def back(block: nn.Module, conv: str, importance: torch.Tensor) -> torch.Tensor:
        return conv_transpose2d(importance[None, :, None, None], absolute(block, conv)[:, :, 1:2, 1:2])[0, :, 0, 0]

    hidden = back(second, "conv2", final)
    if option == "A":
        shortcut = final[1:5]  # one channel of zeros before, one after
    else:
        conv, norm = second.shortcut
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        weight = conv.weight.detach().double().abs() / (1 + norm.eps) ** 0.5
        shortcut = conv_transpose2d(final[None, :, None, None], weight)[0, :, 0, 0]
    between = back(second, "conv1", hidden) + shortcut
    expected = {"layer2.0.conv1": hidden, "layer1.0.conv1": back(first, "conv2", between / between.sum())}
    assert scores.keys() == expected.keys()
    for name, score in scores.items():
        torch.testing.assert_close(score, expected[name], rtol=1e-6, atol=0)


def test_a_kernel_counts_with_all_its_weights() -> None:
    """Inside an image, where no border cuts a kernel off: sums over positions of neuron importances."""
    backbone = small_backbone()
    block = backbone.get_submodule("layer2.1")
    weight, final = absolute(block, "conv2"), torch.rand(8, dtype=torch.float64)
    inside = torch.zeros(1, 8, 5, 5, dtype=torch.float64)
    inside[:, :, 1:-1, 1:-1] = final[:, None, None]
    neurons = conv2d(inside, weight.transpose(0, 1).flip(2, 3), padding=1)
    torch.testing.assert_close(propagate(backbone, final)["layer2.1.conv1"], neurons.sum((0, 2, 3)) / 9)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_every_layer_that_can_be_pruned_has_scores(bottleneck: bool) -> None:
    backbone = small_backbone(bottleneck, option="B")
    scores = propagate(backbone, torch.rand(backbone.linear.in_features))
    assert {name: len(score) for name, score in scores.items()} == filters(backbone)
    assert all(bool((score > 0).all()) for score in scores.values())


def test_importance_of_an_expansion_comes_through_its_depthwise_convolution() -> None:
    """And that of the last block's output through the convolution after it."""
    backbone = build_backbone(BackboneSpec(name="mobilenet_v2", width=0.0625), (3, 16, 16), CLASSES).eval()
    final = torch.rand(backbone.linear.in_features, dtype=torch.float64)

    def weight(name: str) -> torch.Tensor:
        conv = backbone.get_parameter(f"{name}.weight").detach().double().abs()
        return conv.sum((2, 3)) / (1 + 1e-5) ** 0.5

    out = weight("features.18.0").T @ final
    hidden = weight("features.17.conv.2").T @ out
    scores = propagate(backbone, final)
    torch.testing.assert_close(scores["features.17.conv.1.0"], hidden)
    torch.testing.assert_close(scores["features.17.conv.0.0"], weight("features.17.conv.1.0")[:, 0] * hidden)
    branch = weight("features.17.conv.0.0").T @ scores["features.17.conv.0.0"]
    into = weight("features.16.conv.2").T @ (branch / branch.sum())  # the last block has no shortcut
    torch.testing.assert_close(scores["features.16.conv.1.0"], into)


# Pruning


def test_a_filter_that_nothing_reads_goes_first() -> None:
    backbone = small_backbone()
    layer = next(inner_convs(backbone))
    with torch.no_grad():
        layer.reader.weight[:, 1] = 0
        layer.conv.weight[1] *= 100  # the largest by its L1 norm
    kept = layer.conv.weight.detach()[[0, 2, 3]]
    nisp(ratios=0.25).prune(backbone, random_images(20))
    assert torch.equal(layer.conv.weight, kept)


def test_a_share_of_each_layer_or_of_all_together() -> None:
    each, together = small_backbone(), small_backbone()
    nisp(ratios=0.5).prune(each, random_images(20))
    assert list(filters(each).values()) == [2, 2, 4, 4]
    with torch.no_grad():
        for layer in inner_convs(together):
            if layer.stage == "layer2":  # all filters of a layer alike: none is far below its mean
                layer.reader.weight[:] = layer.reader.weight[:, :1]
    nisp(ratios=0.125, ranking="global").prune(together, random_images(20))
    left = filters(together)
    assert sum(left.values()) == 21
    assert (left["layer2.0.conv1"], left["layer2.1.conv1"]) == (8, 8)


@pytest.mark.parametrize("ranking", ["layer", "global"])
def test_it_prunes_to_a_given_cost(ranking: str) -> None:
    backbone = small_backbone(shape=(3, 16, 16))
    dense = dense_macs(backbone)
    nisp(macs=0.6, ranking=ranking).prune(backbone, random_images(20, (3, 16, 16)))
    assert dense_macs(backbone) == pytest.approx(0.6 * dense, rel=0.04)


def test_parameters_that_contradict() -> None:
    with pytest.raises(ValidationError, match="one number"):
        nisp(ranking="global", ratios=(0.5, 0.1, 0.1))


# Training images of an edit


def test_an_edit_sees_training_images_only_as_many_as_it_asked_for(tmp_path: Path) -> None:
    run = make_run(Nisp, Recipe(epochs=1, batch_size=512), epochs=1, images=50)
    data = load_data(DataSpec(name="digits"))
    seen = []

    class Looking(Nisp):
        def after_pruning(self, stage: Stage) -> Stage:
            stage = super().after_pruning(stage)
            assert stage.edit_on_images is not None
            return type(stage)(**{**vars(stage), "edit_on_images": lambda model, images: seen.append(images)})

    method = Looking(Nisp.Config.model_validate(run.params))
    for folder in ("one", "two"):
        context = make_context(tmp_path / folder)
        Session(run, method, build_model(run, method, data, context), data, context).train()
    normalised = data.normalise(torch.device("cpu"))(data.train.images)
    known = {image.numpy().tobytes() for image in normalised}
    assert len({image.numpy().tobytes() for image in seen[0]} & known) == len(seen[0]) == 50
    assert torch.equal(seen[0], seen[1])


def test_interrupted_anywhere_it_ends_the_same(tmp_path: Path) -> None:
    run = make_run(Nisp, Recipe(epochs=1, batch_size=512), epochs=2, images=64, lr=0.05, ranking="global")
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    record = execute(run, make_context(whole))
    assert record.status == "finished", record.traceback
    assert record.points[0].audited
    assert record.points[0].macs.max < record.macs_dense
    for place in (("retrain", 0), ("retrain", 1), ("retrain", 2)):
        with pytest.raises(KeyboardInterrupt):
            execute(run, make_context(pieces, Interrupter(*place)))
    execute(run, make_context(pieces))
    assert_same_results(pieces, whole)


def test_the_plan_needs_no_images() -> None:
    run = make_run(Nisp, Recipe(epochs=1, batch_size=512), ratios=0.5)
    assert estimate_cost(run).macs < estimate_cost(run).macs_dense
