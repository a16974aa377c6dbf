"""Early exits: what they cost, when an image leaves, what runs then, and how each preset is trained."""

import math
from itertools import pairwise
from typing import Any, cast

import pytest
import torch
from dynbench_methods.early_exit.config import NEVER, PRESETS
from dynbench_methods.early_exit.executor import ExitExecutor
from dynbench_methods.early_exit.heads import ConvHead
from dynbench_methods.early_exit.losses import exit_recipe, hinge, rising_weights
from dynbench_methods.early_exit.method import EarlyExit
from dynbench_methods.early_exit.net import ExitNet, feature_sizes, surest
from dynbench_methods.early_exit.rules import (
    entropy_of,
    features,
    fitted_policies,
    fitted_policy,
    quantile_thresholds,
    uncertainty,
)
from pydantic import ValidationError
from torch import Tensor, nn

from dynbench.backbones import Backbone, build_backbone
from dynbench.cost import dense_macs, static_costs
from dynbench.evaluation.executed import executed_macs
from dynbench.evaluation.trained import Trained
from dynbench.method import Point
from dynbench.recipe.averaging import recalibrate
from dynbench.stage import Progress, apply_edits
from dynbench.suite.recipe import Adam, Muon, Recipe, Sgd
from dynbench.suite.schema import BackboneSpec
from tests.helpers.small import CLASSES, ask, random_images, random_split, small_backbone, stirred

CIFAR = (3, 32, 32)
EXITS = (0.2, 0.5)


def method_of(preset: str, **params: Any) -> EarlyExit:
    return EarlyExit(EarlyExit.Config.model_validate({"preset": preset, **params}))


def planted(
    preset: str, backbone: Backbone | None = None, images: Tensor | None = None, **params: Any
) -> tuple[EarlyExit, ExitNet]:
    """A net of which, at each point, about half of the images leave at each exit."""
    method = method_of(preset, exits=params.pop("exits", EXITS), **params)
    net = cast("ExitNet", method.build(backbone or small_backbone())).eval()
    stirred(cast("Backbone", net))
    for policy in net.policies:
        nn.init.normal_(cast("Tensor", policy.weight), generator=torch.Generator().manual_seed(1))
        nn.init.zeros_(cast("Tensor", policy.bias))
    x = random_images(64) if images is None else images
    with torch.no_grad():
        found, _ = net.run(x)
        for row in range(len(net.thresholds) - 1):
            for index, logits in enumerate(found):
                net.thresholds[row, index] = net.score(index, logits, row).median() + 1e-4
    return method, net


def asked(preset: str, **params: Any) -> Trained:
    method, net = planted(preset, **params)
    return ask(method, net)


def expected_macs(net: ExitNet, exit_: int) -> int:
    """What an image has paid that left at number `exit_`, or stayed to the end: by layers' names."""
    macs = {layer.name: layer.macs for layer in static_costs(net, net.backbone.input_shape)}
    blocks = [name for name, _ in net.backbone.named_blocks()]
    paid = macs[f"backbone.{net.backbone.stem_conv}"]
    for index, (start, end) in enumerate(pairwise((0, *net.places, len(blocks)))):
        prefixes = tuple(f"backbone.{name}." for name in blocks[start:end])
        paid += sum(cost for name, cost in macs.items() if prefixes and name.startswith(prefixes))
        if index < len(net.places):
            paid += sum(cost for name, cost in macs.items() if name.startswith(f"heads.{index}."))
            policy = macs.get(f"policies.{index}", 0)
            assert policy % len(net.thresholds) == 0
            paid += policy // len(net.thresholds)
        if index == exit_ < len(net.places):
            return paid
    return paid + macs[f"backbone.{net.backbone.linear_name}"]


# What it costs


def costs_of(preset: str, backbone: str, shape: tuple[int, int, int] = CIFAR, **params: Any) -> dict[str, int]:
    net = method_of(preset, **params).build(build_backbone(BackboneSpec(name=backbone), shape, 10))
    return {layer.name: layer.macs for layer in static_costs(net, shape)}


def starting(costs: dict[str, int], prefix: str) -> int:
    return sum(macs for name, macs in costs.items() if name.startswith(prefix))


def test_branchynets_resnet_110_to_the_last_mac() -> None:
    """Its stem is not padded, so that maps are 30x30: 48.2 M of heads beside a trunk of 232.4 M."""
    shape = (3, 30, 30)
    costs = costs_of("branchynet", "resnet110", shape, head="published")
    stem, stage, pixels = 27 * 16 * 900, 36 * 9 * 16 * 16 * 900, 30 * 30
    first = (25 * 16 * 64 + 9 * 64 * 32 + 9 * 32 * 32) * pixels + 28_800 * 10
    second = 2 * 9 * 16 * 16 * pixels + 14_400 * 10
    assert (first, second) == (48_211_200, 4_291_200)
    assert (starting(costs, "heads.0."), starting(costs, "heads.1.")) == (first, second)
    trunk = starting(costs, "backbone.")
    assert trunk == dense_macs(build_backbone(BackboneSpec(name="resnet110"), shape, 10)) == 232_406_848
    net = method_of("branchynet", head="published").build(build_backbone(BackboneSpec(name="resnet110"), shape, 10))
    paid = [expected_macs(cast("ExitNet", net), number) for number in range(3)]
    assert paid == [stem + first, stem + first + stage + second, trunk + first + second]
    mean = 0.415 * paid[0] + 0.138 * paid[1] + 0.447 * paid[2]
    assert mean == pytest.approx(165.1e6, rel=0.001)
    assert trunk / mean == pytest.approx(1.41, abs=0.005)
    torch.testing.assert_close(cast("Tensor", net.costs), torch.tensor(paid) / trunk)


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("branchynet", [9 * 16 * 32 * 256 + 320, 9 * 32 * 32 * 64 + 320]),
        ("msdnet_rule", [9 * 16 * 32 * 256 + 9 * 32 * 32 * 64 + 320, 9 * 32 * 32 * (64 + 16) + 320]),
        ("dg", [160, 320]),
    ],
)
def test_heads_of_resnet_20_behind_its_stages(preset: str, expected: list[int]) -> None:
    costs = costs_of(preset, "resnet20")
    assert [starting(costs, f"heads.{index}.") for index in range(2)] == expected


def test_sdns_exits_of_resnet_32() -> None:
    backbone = build_backbone(BackboneSpec(name="resnet32"), CIFAR, 10)
    net = cast("ExitNet", method_of("sdn").build(backbone))
    costs = {layer.name: layer.macs for layer in static_costs(net, CIFAR)}
    assert [starting(costs, f"heads.{index}.") for index in range(6)] == [2560] * 2 + [5120] * 2 + [10240] * 2
    shares = [0.143, 0.281, 0.469, 0.606, 0.726, 0.931]
    assert net.costs[:-1].tolist() == pytest.approx(shares, abs=0.001)


@pytest.mark.parametrize("preset", PRESETS)
def test_there_are_at_least_five_points_and_the_last_is_that_nobody_leaves(preset: str) -> None:
    method, net = planted(preset)
    names = [point.name for point in method.points(net)]
    assert len(set(names)) == len(names) >= 5
    assert names[-1] == NEVER
    (output,) = method.infer(net, random_images(8), [Point(NEVER)])
    assert all(bool(used.positions.double().min() > 0) for used in output.usage.values() if used.positions is not None)


# What runs


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("preset", PRESETS)
@torch.no_grad()
def test_every_head_that_an_image_reached_is_paid(preset: str, bottleneck: bool) -> None:
    backbone = small_backbone(bottleneck, "B")
    trained = asked(preset, backbone=backbone)
    net, x = cast("ExitNet", trained.model), random_images(32)
    (output, *_) = trained.infer(x, trained.points[:1])
    _, reached = net.decided(*net.run(x), 0)
    left_at = torch.stack([here.long() for here in reached[1:]]).sum(0)
    assert left_at.unique().tolist() == [0, 1, 2], "some leave at each exit, and some stay"
    macs = trained.costs(output.usage, 32).by_kind.sum(1).tolist()
    assert macs == [expected_macs(net, int(number)) for number in left_at]


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("preset", PRESETS)
def test_audited_and_batches_are_compacted(preset: str, bottleneck: bool) -> None:
    trained = asked(preset, backbone=small_backbone(bottleneck, "B"))
    points = [trained.points[0], trained.points[-1]]
    audits = trained.audit(random_split(8).images, points)
    assert [audit.images for audit in audits] == [8, 8]
    x = random_images(24)
    for point, output in zip(points, trained.infer(x, points), strict=True):
        executor = trained.executor(point)
        assert executor is not None
        with torch.inference_mode():
            executed, logits = executed_macs(executor, x)
        torch.testing.assert_close(logits, output.logits, rtol=1e-3, atol=1e-4)
        assert executed == int(trained.costs(output.usage, 24).by_kind.sum())


@pytest.mark.parametrize(
    "spec",
    [BackboneSpec(name="resnet20", width=0.5), BackboneSpec(name="resnet50", width=0.125, stem="imagenet")],
    ids=["resnet20", "torchvision bottleneck"],
)
def test_audited_on_whole_nets(spec: BackboneSpec) -> None:
    """All of SDN's six exits, at the point where about half of the images leave at each."""
    torch.manual_seed(0)
    shape = (3, 32, 32)
    backbone = stirred(build_backbone(spec, shape, CLASSES))
    method, net = planted("sdn", backbone, exits=PRESETS["sdn"].exits, images=random_images(32, shape))
    trained = ask(method, net, shape)
    (audit,) = trained.audit(random_split(8, shape).images, trained.points[:1])
    assert audit.images == 8
    (output,) = trained.infer(random_images(32, shape), trained.points[:1])
    assert len(set(trained.costs(output.usage, 32).by_kind.sum(1).tolist())) > 3


@pytest.mark.parametrize("preset", PRESETS)
@torch.inference_mode()
def test_nan_behind_the_exit_changes_nothing(preset: str) -> None:
    trained = asked(preset)
    net = cast("ExitNet", trained.model)
    point = trained.points[0]
    executor = cast("ExitExecutor", trained.executor(point))
    _, reached = net.decided(*net.run(x := random_images(32)), 0)
    first = (~reached[1]).nonzero()[:, 0]
    before = [executor(x[image : image + 1]) for image in first], executor(x[first])
    for part in (*executor.backbone.blocks[net.places[0] :], *executor.heads[1:], executor.backbone.classifier):
        for tensor in (*part.parameters(), *part.buffers()):
            tensor.fill_(math.nan)
        part.double().float()  # kernels pack their weights again
    after = [executor(x[image : image + 1]) for image in first], executor(x[first])
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert executor(x).isnan().any(1).sum() == int(reached[1].sum()), "the others do read them"


def test_where_no_exit_fires_the_surest_answers_in_sdn_alone() -> None:
    x = random_images(16)
    for preset in ("sdn", "branchynet"):
        method, net = planted(preset)
        with torch.no_grad():
            cast("nn.Linear", net.heads[0].linear).weight.mul_(10)  # surer than it was, and than the whole net
            found, final = net.run(x)
            (output,) = method.infer(net, x, [Point(NEVER)])
        torch.testing.assert_close(output.logits, surest([*found, final]) if preset == "sdn" else final)
        assert not torch.equal(surest([*found, final]), final)


# Scores and thresholds


def test_images_are_told_apart_whose_p_is_1_in_fp32() -> None:
    logits = torch.tensor([[40.0, 0, 0], [50.0, 0, 0], [1.0, 0, 0]])
    assert logits.softmax(1).amax(1)[:2].tolist() == [1, 1]
    scores = uncertainty(logits)
    assert 0 < scores[1] < scores[0] < scores[2]
    torch.testing.assert_close(scores[2], -logits[2].log_softmax(0)[0])
    torch.testing.assert_close(entropy_of(torch.zeros(1, 4)), torch.tensor([math.log(4)]))
    torch.testing.assert_close(features(torch.tensor([[1.0, 0, 0]]))[0, 0], scores[2])


def test_quantiles_let_the_wanted_shares_leave_and_lie_between_images() -> None:
    torch.manual_seed(0)
    scores = [torch.rand(100), torch.rand(100)]
    first, second = quantile_thresholds(scores, 0.5)  # 4 : 2 : 1
    leaves = scores[0] < first
    assert int(leaves.sum()) == 57
    assert int((scores[1][~leaves] < second).sum()) == 28
    assert first not in scores[0].double()
    below, above = scores[0][leaves].max(), scores[0][~leaves].min()
    assert first == pytest.approx(float(below + above) / 2)
    assert quantile_thresholds(scores, 1e-9)[0] == pytest.approx(float(scores[0].sort().values[-2:].mean()))


def test_calibration_of_msdnets_rule() -> None:
    method, net = planted("msdnet_rule")
    images = random_images(300)
    with torch.no_grad():
        method.calibrate(net, images, torch.zeros(300))
        _, reached = net.decided(*net.run(images), 3)
    assert method.calibrates()
    assert [int(here.sum()) for here in reached] == [300, 200, 100]  # q = 1
    assert net.thresholds[-1].tolist() == [-math.inf] * 2


def test_a_policy_weighs_what_a_decision_costs() -> None:
    """Sure images are right at the exit already, others only at the end; a high price lets everybody leave."""
    labels = torch.arange(400) % 4
    sure = torch.arange(400) % 3 == 0
    right = torch.nn.functional.one_hot(labels, 4).float()
    early = torch.where(sure[:, None], 5 * right, 0.3 * right.roll(1, 1)) + 0.01 * torch.randn(400, 4)
    stays = {}
    for price in (0.1, 5.0):
        ((slope, bias),) = fitted_policies([early], 5 * right, labels, [0.3, 1.0], price)
        stays[price] = (features(early).double() * slope).sum(1) + bias > 0
    assert torch.equal(stays[0.1], ~sure)
    assert not stays[5.0].any()
    everybody = fitted_policy(torch.rand(10, 3), torch.ones(10, dtype=torch.bool), torch.ones(10))
    assert everybody[1] > 0


def test_calibration_of_a_policy() -> None:
    method, net = planted("bolukbasi")
    images = random_images(100)
    with torch.no_grad():
        method.calibrate(net, images, torch.arange(100) % CLASSES)
        macs = [
            float(ask(method, net).costs(output.usage, 100).by_kind.sum())
            for output in method.infer(net, images, method.points(net))
        ]
    assert macs[0] < macs[-1]


# Training


def test_a_frozen_trunk_does_not_move() -> None:
    for preset, params in (("dg", {}), ("sdn", {"trunk": "frozen"}), ("bolukbasi", {})):
        method = method_of(preset, exits=EXITS, **params)
        net = cast("ExitNet", method.build(small_backbone()))
        (stage,) = method.stages(Recipe(epochs=2))
        apply_edits(stage, net, random_images)
        before = {name: value.clone() for name, value in net.backbone.state_dict().items()}
        optimizer = stage.optimizer(net.train())
        stage.loss(net, random_images(8), torch.arange(8) % CLASSES, Progress(0, 2, 0.0)).backward()
        optimizer.step()
        assert all(torch.equal(value, before[name]) for name, value in net.backbone.state_dict().items())
        assert all(parameter.grad is not None for parameter in net.heads.parameters())
        assert method.start() is not None


def test_averaged_weights_leave_a_frozen_trunk_alone() -> None:
    net = cast("ExitNet", method_of("bolukbasi", exits=EXITS).build(small_backbone()))
    head = ConvHead(feature_sizes(net.backbone)[net.places[1]][0], 4, CLASSES, 1)
    net.heads[1], net.frozen = head, True
    before = {name: value.clone() for name, value in net.backbone.state_dict().items()}
    recalibrate(net.eval(), [random_images(16), random_images(16, seed=1)])
    assert all(torch.equal(value, before[name]) for name, value in net.backbone.state_dict().items())
    mean = cast("nn.BatchNorm2d", head.norms[0]).running_mean
    assert mean is not None
    assert mean.any()
    assert not net.training


@pytest.mark.parametrize("preset", PRESETS)
def test_smaller_images_in_training(preset: str) -> None:
    """Of progressive resizing."""
    backbone = build_backbone(BackboneSpec(name="resnet20", width=0.25), CIFAR, CLASSES)
    for head in (None, "published") if preset == "branchynet" else (None,):
        method = method_of(preset, head=head)
        net = method.build(backbone).train()
        labels, progress, recipe = torch.arange(4) % CLASSES, Progress(0, 2, 0.0), Recipe(epochs=2)
        for side in (20, 32):
            loss = method.loss(net, random_images(4, (3, side, side)), labels, progress, recipe)
            assert loss.isfinite()


def test_losses() -> None:
    scores, y = torch.tensor([[2.0, -0.5, 0.5]]), torch.tensor([0])
    assert hinge(scores, y) == pytest.approx((0 + 0.5 + 1.5) / 3)
    assert rising_weights([0.2, 0.8], Progress(0, 10, 0.05)) == [0.01, 0.01]
    assert rising_weights([0.2, 0.8], Progress(5, 10, 0.5)) == pytest.approx([0.11, 0.41])
    assert rising_weights([0.2, 0.8], Progress(9, 10, 0.99)) == pytest.approx([0.19, 0.73])
    for preset, start in (("branchynet", True), ("sdn", False), ("msdnet_rule", False)):
        method, net = planted(preset)
        assert (method.start() is not None) == start
        loss = method.loss(
            net.train(), random_images(8), torch.arange(8) % CLASSES, Progress(0, 2, 0.0), Recipe(epochs=2)
        )
        loss.backward()  # type: ignore[no-untyped-call]
        assert all(parameter.grad is not None for parameter in net.parameters())


def test_recipes() -> None:
    recipe = Recipe(epochs=20, optimizer=Sgd(name="sgd", lr=0.1), warmup_epochs=1)
    joint = exit_recipe(method_of("branchynet", epochs=11).config, recipe)
    assert (joint.epochs, joint.optimizer.lr, joint.warmup_epochs) == (11, 0.01, 1)
    frozen = exit_recipe(method_of("sdn", trunk="frozen", epochs=5).config, recipe)
    assert isinstance(frozen.optimizer, Adam)
    assert (frozen.schedule.model_dump()["milestones"], frozen.warmup_epochs) == ((3,), 0)
    assert exit_recipe(method_of("msdnet_rule").config, recipe) == recipe
    muon = exit_recipe(method_of("branchynet").config, recipe.model_copy(update={"optimizer": Muon(name="muon")}))
    assert isinstance(muon.optimizer, Muon)
    assert (muon.optimizer.lr, muon.optimizer.sgd_lr) == (pytest.approx(0.002), 0.01)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"preset": "dg", "trunk": "frozen"}, "trunk is only for preset: sdn"),
        ({"preset": "sdn", "weights": [1, 1]}, "weights is only for preset: branchynet"),
        ({"preset": "msdnet_rule", "epochs": 3}, "trained from scratch"),
        ({"head": "published", "exits": [0.5]}, "has its own exits"),
        ({"steps": [0.1, 0.1, 0.2, 0.3]}, "each operating point once"),
        ({"steps": [0.1]}, "at least 4"),
        ({"exits": [0.5, 0.2]}, "rising shares"),
        ({"preset": "sdn", "steps": [0.1, 0.5, 0.9, 1.0]}, "between 0 and 1"),
        ({"preset": "bolukbasi", "steps": [0.0, 1, 2, 3]}, "lambda is above 0"),
        ({"preset": "unheard"}, "preset"),
    ],
)
def test_bad_parameters(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        EarlyExit.Config.model_validate(params)


def test_weights_are_one_an_exit_and_one_for_the_net() -> None:
    backbone = small_backbone()
    reason = method_of("branchynet", weights=[1.0, 0.3, 0.1]).unsupported(backbone)
    assert reason == "weights: 3 were given for 1 exits and the whole net"
    assert method_of("branchynet", weights=[1.0, 0.3]).unsupported(backbone) is None
