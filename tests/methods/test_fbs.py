"""FBS: which channels win, what that costs, that it starts as the dense net, and that its executor runs no more."""

from typing import Any, cast

import pytest
import torch
from dynbench_methods.fbs.method import Fbs
from dynbench_methods.fbs.net import BlockSaliences, ChannelSalience, FbsNet, winners
from pydantic import ValidationError
from torch import Tensor, nn

from dynbench.backbones import Backbone, build_backbone
from dynbench.cost import CostModel, static_costs
from dynbench.evaluation.audit import relative_difference
from dynbench.method import FromDense
from dynbench.stage import apply_edits
from dynbench.suite.recipe import Recipe, Sgd
from dynbench.suite.schema import BackboneSpec
from tests.helpers.small import CPU, SHAPE, ask, random_images, random_split, small_backbone

RECIPE = Recipe(epochs=11, batch_size=8, optimizer=Sgd(name="sgd", lr=0.1))


def method_of(**params: Any) -> Fbs:
    return Fbs(Fbs.Config.model_validate(params))


def planted(bottleneck: bool = False, density: float = 0.5) -> tuple[Fbs, FbsNet]:
    """Saliences that differ by image."""
    method = method_of(density=density)
    torch.manual_seed(2)
    net = cast("FbsNet", method.build(small_backbone(bottleneck))).eval()
    for saliences in net.saliences.modules():
        if isinstance(saliences, ChannelSalience):
            nn.init.normal_(saliences.scores.weight, std=0.5)
    net.density.fill_(density)
    return method, net


def no_images(count: int) -> Tensor:
    raise AssertionError("nothing is set on images")


def test_winners_are_the_largest_and_of_equals_at_the_edge_none() -> None:
    saliences = torch.tensor([[3.0, 1.0, 2.0, 0.0], [1.0, 0.0, 0.0, 0.0], [2.0, 2.0, 2.0, 1.0]])
    expected = [[True, False, True, False], [True, False, False, False], [False, False, False, False]]
    assert winners(saliences, 0.5).tolist() == expected
    assert winners(saliences, 0.3).sum(1).tolist() == [2, 1, 0]  # ceil(1.2)
    assert bool(winners(saliences, 1.0).all())


def test_at_density_1_it_starts_as_the_dense_net_nearly() -> None:
    method = method_of()
    net = cast("FbsNet", method.build(small_backbone())).eval()
    for saliences in net.saliences.modules():
        if isinstance(saliences, ChannelSalience):
            nn.init.zeros_(saliences.scores.weight)
    x = random_images(4)
    with torch.no_grad():
        torch.testing.assert_close(net(x), net.backbone(x))


def test_a_block_by_the_formula() -> None:
    """relu(m (g gamma norm(conv x) + beta)) of the first convolution, written out."""
    _, net = planted()
    (name, block), saliences = next(iter(net.backbone.named_blocks())), cast("BlockSaliences", net.saliences[0])
    x = random_images(3, (4, 8, 8)).abs()
    with torch.no_grad():
        conv, norm = block.conv_and_norm("conv1")
        assert norm.running_mean is not None
        assert norm.running_var is not None
        normal = (conv(x) - norm.running_mean[:, None, None]) / (norm.running_var + norm.eps).sqrt()[:, None, None]
        scores = cast("ChannelSalience", saliences["conv1"]).scores
        g = (x.mean((2, 3)) @ scores.weight.T + scores.bias).relu()
        m = g > g.sort(dim=1, descending=True).values[:, 2:3]
        gamma, beta = norm.weight[:, None, None], norm.bias[:, None, None]
        expected = (m[:, :, None, None] * (g.clamp(max=4)[:, :, None, None] * gamma * normal + beta)).relu()
        seen: list[Tensor] = []
        hook = block.conv_and_norm("conv2")[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        from dynbench_methods.fbs.net import boosted_block

        boosted_block(block, name, x, saliences, 0.5)
        hook.remove()
    torch.testing.assert_close(seen[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_an_images_cost_is_known_beforehand(bottleneck: bool) -> None:
    """d of the first convolution of a block, d^2 of the others, where no saliences are equal."""
    method, net = planted(bottleneck)
    for saliences in net.saliences.modules():
        if isinstance(saliences, ChannelSalience):
            nn.init.zeros_(saliences.scores.weight)
            saliences.scores.bias.data = 1 + 0.01 * torch.arange(saliences.scores.out_features)
    (output,) = method.infer(net, random_images(5), method.points(net))
    costs = static_costs(net, SHAPE)
    first = {f"backbone.{name}.{block.branch_convs()[0]}" for name, block in net.backbone.named_blocks()}
    later = {f"backbone.{name}.{conv}" for name, block in net.backbone.named_blocks() for conv in block.branch_convs()}
    share = {layer.name: 0.5 if layer.name in first else 0.25 if layer.name in later else 1 for layer in costs}
    expected = sum(round(share[layer.name] * layer.macs) for layer in costs)
    assert CostModel(costs, CPU)(output.usage, 5).by_kind.sum(1).tolist() == [expected] * 5


@pytest.mark.parametrize("density", [0.5, 0.8, 1.0])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_the_executor_runs_what_is_accounted(bottleneck: bool, density: float) -> None:
    method, net = planted(bottleneck, density)
    (audit,) = ask(method, net).audit(random_split(6).images, method.points(net))
    assert audit.images == 6
    x = random_images(3)
    with torch.inference_mode():
        assert relative_difference(method.executor(net, method.points(net)[0]).eval()(x), net(x)) < 1e-4


def test_stages_lower_the_density_under_one_schedule() -> None:
    stages = method_of(density=0.5).stages(RECIPE)
    assert [(stage.name, stage.epochs) for stage in stages] == [
        ("density 1", 2),
        ("density 0.8", 2),
        ("density 0.65", 2),
        ("density 0.5", 5),
    ]
    assert [stage.name for stage in method_of(density=0.7).stages(RECIPE)] == [
        "density 1",
        "density 0.8",
        "density 0.7",
    ]
    assert stages[0].schedule(2.0) == pytest.approx(stages[1].schedule(0.0))
    assert stages[-1].schedule(5.0) == pytest.approx(0.0, abs=1e-6)
    _, net = planted()
    apply_edits(stages[1], net, no_images)
    assert float(net.density) == 0.8
    short = method_of().stages(RECIPE.model_copy(update={"epochs": 1}))
    assert [stage.epochs for stage in short] == [0, 0, 0, 1]


def test_gamma_is_a_frozen_factor_and_the_start_is_dense() -> None:
    assert method_of(dense_epochs=11).start() == FromDense(11)
    net = cast("FbsNet", method_of().build(small_backbone()))
    block = next(iter(net.backbone.named_blocks()))[1]
    norm = block.conv_and_norm("conv1")[1]
    assert (norm.weight.requires_grad, norm.bias.requires_grad) == (False, True)


def test_parameters_and_backbones_that_mean_nothing_are_refused() -> None:
    for params in ({"steps": [0.8, 0.9]}, {"steps": [1.2]}, {"density": 0}):
        with pytest.raises(ValidationError):
            method_of(**params)
    inverted = build_backbone(BackboneSpec(name="mobilenet_v2", width=0.125), (3, 32, 32), 10)
    assert method_of().unsupported(inverted) is not None
    assert method_of().unsupported(cast("Backbone", small_backbone(True))) is None


# What the papers print


def test_57_million_macs_are_not_what_density_one_half_costs() -> None:
    """M-CifarNet: inputs, outputs and output pixels of its convolutions."""
    convs = [
        (3, 64, 30),
        (64, 64, 30),
        (64, 128, 15),
        (128, 128, 15),
        (128, 128, 15),
        (128, 192, 8),
        (192, 192, 8),
        (192, 192, 8),
    ]
    macs = [9 * inputs * outputs * side**2 for inputs, outputs, side in convs]
    classifier, d = 1920, 0.5
    assert sum(macs) + classifier == pytest.approx(174.3e6, rel=1e-3)
    gated = d * macs[0] + d * d * sum(macs[1:]) + d * classifier
    assert gated == pytest.approx(44.0e6, rel=1e-3)
    after_dropout = (4, 7)
    as_printed = gated + sum((d - d * d) * macs[index] for index in after_dropout)
    assert as_printed == pytest.approx(57.6e6, rel=1e-3)


def test_resnet_18_at_density_0_7_is_1_69_times_cheaper_and_not_1_98_where_the_stream_is_dense() -> None:
    backbone = build_backbone(BackboneSpec(name="resnet18"), (3, 224, 224), 1000)
    macs = {layer.name: layer.macs for layer in static_costs(backbone, (3, 224, 224))}
    d, total = 0.7, sum(macs.values())
    second = sum(cost for name, cost in macs.items() if name.endswith("conv2"))
    stem, classifier = macs["conv1"], macs["fc"]
    rest = total - second - stem - classifier  # first convolutions and projections
    dense_stream = d * stem + d * rest + d * d * second + classifier
    assert total / dense_stream == pytest.approx(1.69, abs=0.005)
    all_masked = d * stem + d * d * (rest + second) + classifier
    assert total / all_masked == pytest.approx(1.985, abs=0.005)
