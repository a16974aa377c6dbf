"""LAUDNet: its gates, what it accounts, what it is trained towards, and that its executor runs no more."""

import math
from typing import Any, cast

import pytest
import torch
from dynbench_methods.laudnet.losses import block_costs, bounds_at, distance, laudnet_loss, temperature_at
from dynbench_methods.laudnet.maskers import straight_through
from dynbench_methods.laudnet.method import LaudNetMethod
from dynbench_methods.laudnet.net import Chosen, LaudNet, parts_of
from pydantic import ValidationError
from torch import Tensor, nn

from dynbench.backbones import Backbone, build_backbone
from dynbench.cost import CostModel, dense_macs, static_costs
from dynbench.executors import GatedExecutor, MaskedExecutor
from dynbench.method import FromDense, FromFile, ResidualBlock
from dynbench.stage import Progress
from dynbench.suite.recipe import Recipe, Sgd
from dynbench.suite.schema import BackboneSpec
from dynbench.train.budget import training_macs
from tests.helpers.small import CPU, SHAPE, ask, random_images, random_split, small_backbone

START = Progress(0, 10, 0.0)
MODES: dict[str, dict[str, Any]] = {
    "layer": {"modes": ["layer"]},
    "channel": {"modes": ["channel"], "group": [2]},
    "one linear layer": {"modes": ["channel"], "masker_layers": 1},
    "single positions": {"modes": ["spatial"], "granularity": [1]},
    "patches": {"modes": ["spatial"], "granularity": [2]},
    "both": {"modes": ["both"], "granularity": [2]},
    "by stage": {"modes": ["both", "channel"], "granularity": [3]},
    "half of the stages": {"modes": ["none", "spatial"], "granularity": [1]},
}


def method_of(**params: Any) -> LaudNetMethod:
    return LaudNetMethod(LaudNetMethod.Config.model_validate(params))


def net_of(backbone: Backbone | None = None, **params: Any) -> tuple[LaudNetMethod, LaudNet]:
    """As built: nearly everything runs."""
    method = method_of(**params)
    torch.manual_seed(3)
    return method, cast("LaudNet", method.build(backbone or small_backbone())).eval()


def between(scores: Tensor) -> Tensor:
    """What half of the scores (n, outputs) are above: midway between two of them, where rounding moves none across."""
    ordered, middle = scores.sort(dim=0).values, len(scores) // 2
    return (ordered[middle - 1] + ordered[middle]) / 2


def planted(backbone: Backbone | None = None, **params: Any) -> tuple[LaudNetMethod, LaudNet]:
    """Maskers that let about half run, other parts for other images."""
    method, net = net_of(backbone, **params)
    x = random_images(16, net.backbone.input_shape)
    with torch.no_grad():
        for masker in net.maskers:
            for layer in (one for one in masker.modules() if isinstance(one, nn.Linear)):
                nn.init.normal_(layer.weight, std=1.0)
                seen: list[Tensor] = []
                hook = layer.register_forward_hook(lambda _, __, out, seen=seen: seen.append(out.flatten(0, -2)))
                net(x)
                hook.remove()
                layer.bias -= between(seen[0])
    return method, net


# Gates


def test_in_evaluation_a_gate_is_hard_and_has_no_noise() -> None:
    scores = torch.tensor([-1.0, 0.0, 1e-6, 3.0])
    for _ in range(5):
        assert straight_through(scores, None).tolist() == [0, 0, 1, 1]


def test_in_training_a_gate_opens_as_often_as_its_score_says_and_passes_the_soft_gradient() -> None:
    torch.manual_seed(0)
    scores = torch.full((20_000,), 1.0, requires_grad=True)
    runs = straight_through(scores, 0.5)
    assert set(runs.detach().round(decimals=5).tolist()) == {0.0, 1.0}
    assert float(runs.detach().mean()) == pytest.approx(1 / (1 + math.exp(-1)), abs=0.01)
    runs.sum().backward()
    assert scores.grad is not None
    assert float(scores.grad.min()) >= 0  # far from its steepest place it is 0 in fp32
    assert float(scores.grad.mean()) > 0.01
    assert float(scores.grad.max()) <= 0.25 / 0.5 + 1e-6  # the steepest place of a sigmoid at that temperature


def test_at_the_start_nearly_everything_runs() -> None:
    """Published: 0.993 of the layers."""
    _, net = net_of(build_backbone(BackboneSpec(name="resnet20"), (3, 32, 32), 10), modes=["layer"])
    torch.manual_seed(0)
    with torch.no_grad():
        chosen = [one for _ in range(4) for one in net.run(random_images(64, (3, 32, 32)), 5.0)[1]]
    share = float(torch.stack([cast("Tensor", one.places).mean() for one in chosen]).mean())
    assert share == pytest.approx(0.993, abs=0.006)


def test_the_temperature_falls_exponentially_and_bounds_open_by_whole_epochs() -> None:
    config = method_of(target=0.4).config
    assert [temperature_at(config, done) for done in (0.0, 0.5, 1.0)] == pytest.approx([5, math.sqrt(0.5), 0.1])
    assert bounds_at(config, Progress(0, 100, 0.005)) == pytest.approx((0.4, 0.4))
    assert bounds_at(config, Progress(33, 100, 0.33)) == pytest.approx((0, 1))
    held = math.cos(math.pi / 2 * 10 / 33) ** 2
    assert bounds_at(config, Progress(10, 100, 0.1099)) == pytest.approx((0.4 * held, 1 - 0.6 * held))


# What is accounted


def block_of(bottleneck: bool, index: int) -> ResidualBlock:
    return [block for _, block in small_backbone(bottleneck).named_blocks()][index]


def positions(block: ResidualBlock, places: Tensor, size: int) -> list[list[tuple[int, int]]]:
    """Where each convolution runs for one image."""
    parts = parts_of("b", block, Chosen(places[None], None, (size, size)))
    return [[tuple(at) for at in cast("Tensor", part.positions)[0].nonzero().tolist()] for part in parts]


def square(row: int, column: int) -> list[tuple[int, int]]:
    return [(row + y, column + x) for y in (-1, 0, 1) for x in (-1, 0, 1)]


def test_a_basic_block_runs_its_first_convolution_where_the_second_reads() -> None:
    places = torch.zeros(4, 4)
    places[1, 2] = 1
    first, second = positions(block_of(False, 2), places, 8)  # of stride 2: an output of 4x4
    assert second == [(1, 2)]
    assert first == square(1, 2)


def test_a_strided_bottleneck_runs_its_first_convolution_around_every_second_pixel() -> None:
    places = torch.zeros(4, 4)
    places[0, 0] = places[2, 3] = 1
    first, second, third = positions(block_of(True, 2), places, 8)
    assert second == third == [(0, 0), (2, 3)]
    assert first == sorted([(0, 0), (0, 1), (1, 0), (1, 1), *square(4, 6)])


def test_channels_of_a_bottleneck_cost_c_squared_of_each_image() -> None:
    channels = torch.tensor([[1.0, 1, 1, 1], [1, 0, 0, 0]])
    shares = [part.share() for part in parts_of("b", block_of(True, 0), Chosen(None, channels, (8, 8)))]
    assert [cast("Tensor", one).tolist() for one in shares] == [[1, 0.25], [1, 0.0625], [1, 0.25]]


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_the_cost_in_the_loss_is_the_one_that_is_accounted(mode: str, bottleneck: bool) -> None:
    method, net = planted(small_backbone(bottleneck), **MODES[mode])
    x = random_images(6)
    with torch.no_grad():
        _, chosen = net.run(x)
        total, shares = block_costs(net, chosen)
        (output,) = method.infer(net, x, method.points(net))
    macs = CostModel(static_costs(net, SHAPE), CPU)(output.usage, len(x)).by_kind.sum(1).double().mean()
    assert float(total) == pytest.approx(float(macs) / dense_macs(net.backbone), rel=1e-5)
    assert float(shares.min()) > 0
    assert float(shares.max()) <= 1 + 1e-6


# The executor


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_the_executor_runs_what_is_accounted(mode: str, bottleneck: bool) -> None:
    method, net = planted(small_backbone(bottleneck), **MODES[mode])
    (audit,) = ask(method, net).audit(random_split(8).images, method.points(net))
    assert audit.images == 8
    x = random_images(5)
    with torch.inference_mode():
        executor = method.executor(net, method.points(net)[0]).eval()
        torch.testing.assert_close(executor(x), net(x), rtol=1e-4, atol=1e-4)
        assert not torch.equal(executor(x), net.backbone(x))


def test_what_a_one_call_net_can_run_goes_to_it() -> None:
    for mode, bottleneck, expected in (
        ("layer", True, GatedExecutor),
        ("channel", False, GatedExecutor),
        ("channel", True, MaskedExecutor),
        ("patches", False, MaskedExecutor),
    ):
        method, net = net_of(small_backbone(bottleneck), **MODES[mode])
        assert type(method.executor(net, method.points(net)[0])) is expected


def test_on_the_backbones_of_the_issue() -> None:
    """ResNet-20 on CIFAR's images; torchvision's ResNet-50, at an eighth of its width and on smaller images."""
    subjects = [
        (BackboneSpec(name="resnet20"), (3, 32, 32), "by stage"),
        (BackboneSpec(name="resnet50", width=0.125, stem="imagenet"), (3, 64, 64), "both"),
    ]
    for spec, shape, mode in subjects:
        params = {**MODES[mode], "modes": MODES[mode]["modes"] * 2} if mode == "by stage" else MODES[mode]
        method, net = planted(build_backbone(spec, shape, 10), **params)
        (audit,) = ask(method, net, shape).audit(random_split(3, shape).images, method.points(net))
        assert audit.images == 3


# Training


def test_the_teacher_is_the_net_that_it_starts_from_and_stays_so() -> None:
    _, net = net_of()
    assert net.teacher is not None
    net.train()
    assert net.training
    assert not any(module.training for module in net.teacher.modules())
    assert not any(parameter.requires_grad for parameter in net.teacher.parameters())
    x = random_images(4)
    with torch.no_grad():
        torch.testing.assert_close(net.teacher(x), net.backbone.eval()(x))
        assert float(distance(net.teacher(x), net.teacher(x), 4.0)) == pytest.approx(0, abs=1e-6)
    assert net_of(distillation=0)[1].teacher is None


def test_the_teachers_macs_stand_in_the_budget() -> None:
    spent = {}
    for distillation in (0.0, 0.5):
        method, net = net_of(distillation=distillation)
        (stage,) = method.stages(Recipe(epochs=2, batch_size=8))
        spent[distillation] = training_macs(stage, net, SHAPE, net.backbone.num_classes)
    assert spent[0.5] - spent[0.0] == dense_macs(small_backbone())


def test_the_loss_pulls_the_cost_to_its_target_from_both_sides() -> None:
    for target, sign in ((0.2, 1), (1.0, -1)):
        method, net = planted(modes=["layer"], target=target, cost_weight=1e6, distillation=0, bounds=0)
        torch.manual_seed(0)
        x, y = random_images(32), torch.zeros(32, dtype=torch.long)
        laudnet_loss(
            method.config, net.train(), x, y, Progress(5, 10, 0.0), Recipe(epochs=10, batch_size=32)
        ).backward()
        for masker in net.maskers:
            (bias,) = (one for name, one in masker.named_parameters() if name.endswith("scores.bias"))
            assert bias.grad is not None
            assert float(bias.grad) * sign > 0


def test_a_net_in_training_is_driven_to_its_target() -> None:
    method, net = net_of(modes=["spatial"], granularity=[2], target=0.5, lr=0.1, distillation=0)
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    x, y = random_images(32), torch.randint(4, (32,))
    recipe = Recipe(epochs=10, batch_size=32)
    for step in range(120):
        loss = laudnet_loss(method.config, net.train(), x, y, Progress(step // 12, 10, step / 120), recipe)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        total, _ = block_costs(net, net.run(x, 0.1)[1])
    assert float(total) == pytest.approx(0.5, abs=0.05)


def test_it_starts_from_a_trained_net_and_has_its_own_epochs_and_rate() -> None:
    assert method_of(dense_epochs=11).start() == FromDense(11)
    assert method_of(init="w.pt", init_epochs=3).start() == FromFile("w.pt", 3)
    recipe = Recipe(epochs=22, batch_size=64, optimizer=Sgd(name="sgd", lr=0.1), warmup_epochs=1)
    own = method_of(epochs=11).config.own_recipe(recipe)
    assert (own.epochs, own.warmup_epochs, own.optimizer.lr) == (11, 0, 0.02)
    assert method_of(lr=None).config.own_recipe(recipe).optimizer.lr == 0.1


@pytest.mark.parametrize(
    "params",
    [{"modes": ["none"]}, {"init": "w.pt"}, {"init_epochs": 3}, {"tau_first": 0.05}, {"target": 0}],
)
def test_parameters_that_mean_nothing_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        method_of(**params)


def test_what_a_backbone_cannot_do_is_said() -> None:
    backbone = small_backbone()
    assert "2 stages" not in str(method_of().unsupported(backbone))
    assert method_of(modes=["channel"], group=[3]).unsupported(backbone) is not None
    three = build_backbone(BackboneSpec(name="resnet8"), (3, 32, 32), 10)
    assert "3 stages" in str(method_of(modes=["layer", "spatial"]).unsupported(three))
    inverted = build_backbone(BackboneSpec(name="mobilenet_v2", width=0.125), (3, 32, 32), 10)
    assert method_of().unsupported(inverted) is None
    assert method_of(modes=["spatial"]).unsupported(inverted) is not None
