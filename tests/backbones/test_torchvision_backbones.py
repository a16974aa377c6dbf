"""torchvision's nets: their costs, values and weights, and what methods make of their blocks."""

from collections.abc import Iterator

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import relu6

from dynbench.backbones import BACKBONES, Backbone, build_backbone
from dynbench.backbones.mobilenet import InvertedResidual
from dynbench.backbones.removal import fit_filters, inner_convs
from dynbench.backbones.weights import load_weights
from dynbench.cost import dense_macs, static_costs
from dynbench.errors import UserError
from dynbench.executors import FoldedBackbone, FoldedBlock
from dynbench.suite.schema import BackboneSpec
from tests.helpers.small import SHARED, random_images, stirred

IMAGENET = (3, 224, 224)
SMALL = (3, 64, 64)
NAMES = ("resnet18", "resnet34", "resnet50", "resnet101", "mobilenet_v2")


def build(name: str, shape: tuple[int, int, int] = SMALL, width: float = 1.0, classes: int = 1000) -> Backbone:
    return build_backbone(BackboneSpec(name=name, width=width), shape, classes)


def small(name: str) -> Backbone:
    torch.manual_seed(3)
    return stirred(build(name, width=0.125, classes=5)).eval()


@torch.no_grad()
def pair(name: str) -> tuple[Backbone, nn.Module]:
    """Ours and torchvision's, with the same random weights and statistics."""
    torch.manual_seed(3)
    ours, theirs = stirred(build(name)).eval(), torchvision.models.get_model(name).eval()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def test_every_backbone_with_an_imagenet_stem_is_tested() -> None:
    shapes = {name: build(name, classes=2).stem(random_images(1, SMALL)).shape[2] for name in BACKBONES}
    assert {name for name, rows in shapes.items() if rows < SMALL[1]} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_dense_macs_are_those_that_torchvision_publishes(name: str) -> None:
    published = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].meta["_ops"]  # GMACs, despite the name
    assert round(dense_macs(build(name, IMAGENET)) / 1e9, 3) == published


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_torchvisions(name: str) -> None:
    ours, theirs = pair(name)
    x = random_images(2, SMALL)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2"])
def test_weights_load_both_ways(name: str) -> None:
    theirs = torchvision.models.get_model(name)
    ours = build(name)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())


def test_mobilenets_published_weights_load() -> None:
    path = SHARED / "weights" / "mobilenet_v2-b0353104.pth"
    if not path.is_file():
        pytest.skip(f"no {path}")
    backbone = build("mobilenet_v2")
    load_weights(backbone, path)
    assert torch.equal(backbone.linear.bias.detach(), torch.load(path, weights_only=True)["classifier.1.bias"])


# Which net a name stands for


def test_the_stem_goes_by_the_image_unless_the_spec_says() -> None:
    def stem(size: int, stem: str | None) -> tuple[int, ...]:
        spec = BackboneSpec.model_validate({"name": "resnet18", "stem": stem})
        return tuple(next(build_backbone(spec, (3, size, size), 10).children()).kernel_size)  # type: ignore[arg-type]

    assert [stem(size, None) for size in (32, 63, 64, 224)] == [(3, 3), (3, 3), (7, 7), (7, 7)]
    assert (stem(32, "imagenet"), stem(224, "cifar")) == ((7, 7), (3, 3))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "resnet20", "stem": "imagenet"}, "has no ImageNet stem; take resnet18, .* or mobilenet_v2"),
        ({"name": "mobilenet_v2", "stem": "cifar"}, "mobilenet_v2 has no CIFAR stem"),
        ({"name": "mobilenet_v2", "shortcut": "A"}, "mobilenet_v2 has no shortcut options"),
        ({"name": "mobilenet_v2", "width": 0.02}, "leaves mobilenet_v2 without channels; 1/16 is the least"),
    ],
)
def test_what_a_backbone_cannot_be_is_said(spec: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_backbone(BackboneSpec.model_validate(spec), SMALL, 10)


def test_small_images_keep_the_names_of_the_cifar_nets() -> None:
    assert "linear.weight" in build("resnet18", (3, 32, 32)).state_dict()
    assert "fc.weight" in build("resnet18").state_dict()


# Blocks


def inverted() -> Iterator[InvertedResidual]:
    """Without expansion, with a change of shape, and with a shortcut."""
    for arguments in ((4, 6, 1, 1), (4, 6, 2, 3), (4, 4, 1, 3)):
        torch.manual_seed(2)
        block = InvertedResidual(*arguments).eval()
        for module in block.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 4)
                nn.init.normal_(module.bias, std=2)
        yield block


def by_hand(block: InvertedResidual, x: Tensor, mask: Tensor) -> Tensor:
    """The block with channels times `mask` (mid channels,), behind the depthwise convolution."""
    h = x
    for name in block.gated_convs():
        conv, norm = block.conv_and_norm(name)
        h = relu6(norm(conv(h)))
    conv, norm = block.conv_and_norm(block.branch_convs()[-1])
    out: Tensor = norm(conv(h * mask[:, None, None]))
    return out + x if block.skippable else out


def test_inverted_residuals_say_what_they_are() -> None:
    blocks = list(inverted())
    assert [block.skippable for block in blocks] == [False, False, True]
    assert [(b.in_channels, b.mid_channels, b.out_channels) for b in blocks] == [(4, 4, 6), (4, 12, 6), (4, 12, 4)]
    assert [b.branch_convs() for b in blocks[:2]] == [("conv.0.0", "conv.1"), ("conv.0.0", "conv.1.0", "conv.2")]
    with pytest.raises(ValueError, match="no shortcut"):
        _ = blocks[0].shortcut
    assert sum(block.skippable for _, block in build("mobilenet_v2", classes=2).named_blocks()) == 10


@pytest.mark.parametrize("active", [[0, 2, 3], [1], []])
@torch.no_grad()
def test_channels_that_are_left_out_are_as_if_scaled_by_zero(active: list[int]) -> None:
    x = 3 * random_images(2, (4, 6, 6))
    for block in inverted():
        folded, channels = FoldedBlock(block, "block").eval(), torch.tensor(active, dtype=torch.int64)
        scale = torch.rand(1, len(active))
        mask = torch.zeros(block.mid_channels).index_copy(0, channels, scale[0])
        expected = by_hand(block, x, mask)
        whole = folded.narrow(folded.first(x, relu=True), channels, scale)
        for hidden in (folded.open(x, channels, scale), whole):
            torch.testing.assert_close(folded.join(hidden, x, channels), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(folded(x), block(x), rtol=1e-4, atol=1e-4)
        assert bool((block.first(x) == 6).any())  # the cut-off counts


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2"])
@pytest.mark.parametrize("kernels", [True, False])
@torch.no_grad()
def test_a_folded_backbone_computes_the_same(name: str, kernels: bool) -> None:
    backbone = small(name)
    executor = FoldedBackbone(backbone, kernels=kernels).eval()
    x = random_images(3, SMALL)
    torch.testing.assert_close(executor(x), backbone(x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(executor(x[:1]), backbone(x[:1]), rtol=1e-4, atol=1e-4)


def test_projections_are_shortcuts() -> None:
    kinds = {cost.name: cost.kind for cost in static_costs(small("resnet50"), SMALL)}
    shortcuts = [name for name, kind in kinds.items() if kind == "shortcut"]
    assert shortcuts == [f"layer{stage}.0.downsample.0" for stage in (1, 2, 3, 4)]
    assert {cost.kind for cost in static_costs(small("mobilenet_v2"), SMALL)} == {"backbone"}


# Removal


@torch.no_grad()
def test_removing_silent_expansion_filters_changes_no_output() -> None:
    """Silent behind the depthwise convolution: before its BN they are not yet."""
    backbone = small("mobilenet_v2")
    kept = torch.tensor([0, 2, 3])
    for layer in inner_convs(backbone):
        for _, norm in layer.between.values():
            removed = torch.ones(layer.filters, dtype=torch.bool)
            removed[kept] = False
            norm.weight[removed] = norm.bias[removed] = 0
    x = random_images(2, SMALL)
    expected, weights = backbone(x), backbone.state_dict()
    for layer in inner_convs(backbone):
        layer.keep(kept)
    torch.testing.assert_close(backbone(x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(FoldedBackbone(backbone).eval()(x), expected, rtol=1e-4, atol=1e-4)
    assert backbone.state_dict()["features.2.conv.1.0.weight"].shape == (3, 1, 3, 3)
    assert weights["features.1.conv.0.0.weight"].shape == backbone.state_dict()["features.1.conv.0.0.weight"].shape
    fresh = small("mobilenet_v2")
    fit_filters(fresh, backbone.state_dict())
    fresh.load_state_dict(backbone.state_dict())


def test_removable_layers_of_mobilenet() -> None:
    layers = list(inner_convs(small("mobilenet_v2")))
    assert [layer.name for layer in layers[:2]] == ["features.2.conv.0.0", "features.3.conv.0.0"]
    assert [list(layer.between) for layer in layers[:1]] == [["features.2.conv.1.0"]]
    assert [layer.number for layer in layers[:3]] == [4, 7, 10]
    assert list(dict.fromkeys(layer.stage for layer in layers)) == [f"row{row}" for row in range(2, 8)]
