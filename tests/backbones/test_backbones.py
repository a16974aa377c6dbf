from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from dynbench.backbones import BACKBONES, Backbone, ResidualBlock, build_backbone
from dynbench.backbones.residual import SubsampleAndPad
from dynbench.cost import dense_macs
from dynbench.errors import UserError
from dynbench.suite.schema import BackboneSpec
from tests.helpers.small import random_images, small_backbone, stirred

CIFAR = (3, 32, 32)


def cifar(name: str, width: float = 1.0, shortcut: str | None = None) -> Backbone:
    spec = BackboneSpec.model_validate({"name": name, "width": width, "shortcut": shortcut})
    return build_backbone(spec, CIFAR, 10)


def parameters(backbone: Backbone) -> int:
    return sum(parameter.numel() for parameter in backbone.parameters())


def thin_macs(depth: int, channels: tuple[int, int, int] = (16, 32, 64)) -> int:
    """A CIFAR ResNet of `depth` layers with option-A shortcuts, by hand."""
    blocks = (depth - 2) // 6
    total = 9 * 3 * channels[0] * 32**2 + 10 * channels[2]
    inputs = channels[0]
    for stage, width in enumerate(channels):
        pixels = (32 >> stage) ** 2
        total += 9 * pixels * (inputs * width + (2 * blocks - 1) * width**2)
        inputs = width
    return total


# Cost and size


def test_resnet18_costs_what_was_published() -> None:
    assert dense_macs(cifar("resnet18")) == pytest.approx(0.556e9, rel=0.002)


@pytest.mark.parametrize("depth", [8, 20, 32, 44, 56, 110])
def test_thin_nets_cost_what_the_formula_says(depth: int) -> None:
    assert dense_macs(cifar(f"resnet{depth}")) == thin_macs(depth)


@pytest.mark.parametrize(("depth", "macs"), [(20, 40.8e6), (32, 69.1e6), (56, 126e6), (110, 253e6)])
def test_published_figures_include_projection_shortcuts(depth: int, macs: float) -> None:
    cost = dense_macs(cifar(f"resnet{depth}", shortcut="B"))
    assert float(f"{cost:.3g}") == macs
    assert cost - thin_macs(depth) == 16 * 32 * 16**2 + 32 * 64 * 8**2


@pytest.mark.parametrize(
    ("name", "count"),
    [("resnet18", 11.17e6), ("resnet20", 0.27e6), ("resnet32", 0.46e6), ("resnet56", 0.85e6), ("resnet110", 1.73e6)],
)
def test_parameters(name: str, count: float) -> None:
    assert parameters(cifar(name)) == pytest.approx(count, abs=0.005e6)


@pytest.mark.parametrize("width", [0.5, 2.0])
def test_width_scales_every_channel(width: float) -> None:
    channels = tuple(round(width * channel) for channel in (16, 32, 64))
    backbone = cifar("resnet20", width)
    assert dense_macs(backbone) == thin_macs(20, channels)  # type: ignore[arg-type]
    assert backbone.linear.in_features == channels[2]


@pytest.mark.parametrize("width", [1 / 16, 0.3, 0.7, 1.1])
@pytest.mark.parametrize(
    ("name", "shortcut"), [("resnet8", "A"), ("resnet8", "B"), ("resnet50", "A"), ("resnet50", "B")]
)
def test_any_width_runs(name: str, shortcut: str, width: float) -> None:
    backbone = build_backbone(
        BackboneSpec.model_validate({"name": name, "width": width, "shortcut": shortcut}), (3, 8, 8), 10
    )
    stirred(backbone).eval()
    assert backbone(random_images(2)).isfinite().all()


def test_odd_widths_pad_every_new_channel() -> None:
    channels = [block.out_channels for _, block in cifar("resnet8", 0.7).named_blocks()]
    assert channels == [11, 22, 45]


def test_width_without_channels() -> None:
    with pytest.raises(UserError, match=r"width 0\.02 leaves resnet20 without channels; 1/16 is the least"):
        cifar("resnet20", 0.02)


def test_unknown_name() -> None:
    with pytest.raises(UserError, match='unknown backbone "resnet21"; did you mean "resnet32"'):
        cifar("resnet21")


# Structure


@pytest.mark.parametrize(
    ("name", "depths"),
    [
        ("resnet20", (3, 3, 3)),
        ("resnet110", (18, 18, 18)),
        ("resnet18", (2, 2, 2, 2)),
        ("resnet34", (3, 4, 6, 3)),
        ("resnet50", (3, 4, 6, 3)),
    ],
)
def test_blocks_are_named_in_the_order_of_execution(name: str, depths: tuple[int, ...]) -> None:
    backbone = cifar(name, 0.1)
    expected = [f"layer{stage + 1}.{i}" for stage, depth in enumerate(depths) for i in range(depth)]
    assert [block_name for block_name, _ in backbone.named_blocks()] == expected
    order: list[nn.Module] = []
    for _, block in backbone.named_blocks():
        block.register_forward_hook(lambda module, inputs, output: order.append(module))
    backbone.eval()(random_images(1, (3, 16, 16)))
    assert order == [block for _, block in backbone.named_blocks()]


@pytest.mark.parametrize(
    ("name", "shortcut", "convolutions"),
    [
        ("resnet20", "A", 19),
        ("resnet20", "B", 21),
        ("resnet110", "A", 109),
        ("resnet110", "B", 111),
        ("resnet18", "B", 20),
        ("resnet18", "A", 17),
        ("resnet50", "B", 53),
    ],
)
def test_convolutions(name: str, shortcut: str, convolutions: int) -> None:
    backbone = cifar(name, 0.1, shortcut)
    assert sum(isinstance(module, nn.Conv2d) for module in backbone.modules()) == convolutions


def test_branch_convolutions_start_with_the_gated_one() -> None:
    (_, basic), *_ = small_backbone().named_blocks()
    (_, bottleneck), *_ = small_backbone(bottleneck=True).named_blocks()
    assert basic.branch_convs() == ("conv1", "conv2")
    assert bottleneck.branch_convs() == ("conv1", "conv2", "conv3")
    assert (bottleneck.in_channels, bottleneck.mid_channels, bottleneck.out_channels) == (4, 4, 16)


def test_names_are_those_of_public_checkpoints() -> None:
    keys = cifar("resnet20").state_dict().keys()
    assert {"conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer3.2.bn2.bias", "linear.weight"} <= keys
    assert "layer2.0.shortcut.0.weight" in cifar("resnet18").state_dict()


@pytest.mark.parametrize(("before", "after", "stride", "size"), [(4, 8, 2, 6), (3, 8, 2, 5), (4, 16, 1, 6)])
def test_option_a_shortcut(before: int, after: int, stride: int, size: int) -> None:
    x = random_images(2, (before, size, size))
    out = SubsampleAndPad(before, after, stride)(x)
    first = (after - before) // 2
    assert torch.equal(out[:, first : first + before], x[:, :, ::stride, ::stride])
    assert out.shape == (2, after, -(-size // stride), -(-size // stride))
    assert out.abs().sum() == out[:, first : first + before].abs().sum()


# Values and gradients, against a forward pass that overwrites nothing


def reference_block(block: ResidualBlock, x: Tensor) -> Tensor:
    h = block.bn1(block.conv1(x)).relu()
    h = block.get_submodule("bn2")(block.get_submodule("conv2")(h))
    if "conv3" in block.branch_convs():
        h = block.get_submodule("bn3")(block.get_submodule("conv3")(h.relu()))
    return (h + block.shortcut(x)).relu()


def reference(backbone: Backbone, x: Tensor) -> Tensor:
    x = backbone.bn1(backbone.conv1(x)).relu()
    for _, block in backbone.named_blocks():
        x = reference_block(block, x)
    return backbone.linear(adaptive_avg_pool2d(x, 1).flatten(1))


def gradients(backbone: Backbone, logits: Tensor) -> dict[str, Tensor]:
    backbone.zero_grad()
    logits.square().sum().backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.clone() for name, p in backbone.named_parameters() if p.grad is not None}


def variants() -> Iterator[Backbone]:
    for bottleneck in (False, True):
        for option in ("A", "B"):
            yield small_backbone(bottleneck, option).double()


@pytest.mark.parametrize("training", [False, True])
def test_in_place_operations_change_neither_values_nor_gradients(training: bool) -> None:
    for backbone in variants():
        backbone.train(training)
        x = random_images(4).double().requires_grad_()
        before = x.detach().clone()
        found, expected = backbone(x), reference(backbone, x)
        torch.testing.assert_close(found, expected)
        mine, theirs = gradients(backbone, found), gradients(backbone, expected)
        assert mine.keys() == theirs.keys() == dict(backbone.named_parameters()).keys()
        for name, gradient in mine.items():
            torch.testing.assert_close(gradient, theirs[name], msg=name)
        assert torch.equal(x, before)


def test_a_block_leaves_its_input_alone() -> None:
    for backbone in variants():
        _, block = next(backbone.named_blocks())
        x = random_images(2, (4, 8, 8)).double()
        before = x.clone()
        block.eval()(x)
        assert torch.equal(x, before)


def test_channels_last_gives_the_same() -> None:
    for option in ("A", "B"):
        backbone = small_backbone(option=option).eval()
        x = random_images(3)
        expected = backbone(x)
        backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        torch.testing.assert_close(backbone(x.to(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize("name", BACKBONES)
def test_digits_fit_every_backbone(name: str) -> None:
    backbone = build_backbone(BackboneSpec(name=name, width=0.1), (1, 8, 8), 10).eval()
    assert backbone(random_images(2, (1, 8, 8))).shape == (2, 10)
    assert backbone.input_shape == (1, 8, 8)
