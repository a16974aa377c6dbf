"""Removing filters: the net that is left computes what the whole one did without them."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from dynbench.backbones import Backbone
from dynbench.backbones.removal import fit_filters, inner_convs
from dynbench.backbones.residual import BasicBlock, ResNet
from dynbench.cost import static_costs
from dynbench.executors import FoldedBackbone
from tests.helpers.small import CLASSES, SHAPE, random_images, small_backbone

KEPT = torch.tensor([0, 2])


def names(backbone: Backbone) -> list[str]:
    return [layer.name for layer in inner_convs(backbone)]


def silenced(backbone: Backbone) -> Backbone:
    """Every filter but the `KEPT` ones is zero after its BN."""
    for layer in inner_convs(backbone):
        removed = torch.ones(layer.filters, dtype=torch.bool)
        removed[KEPT] = False
        with torch.no_grad():
            layer.norm.weight[removed] = 0
            layer.norm.bias[removed] = 0
    return backbone.eval()


def pruned(backbone: Backbone) -> Backbone:
    for layer in inner_convs(backbone):
        layer.keep(KEPT)
    return backbone


def test_filters_are_removed_from_every_branch_convolution_but_the_last() -> None:
    assert names(small_backbone()) == ["layer1.0.conv1", "layer1.1.conv1", "layer2.0.conv1", "layer2.1.conv1"]
    assert names(small_backbone(bottleneck=True))[:3] == ["layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1"]
    assert {layer.stage for layer in inner_convs(small_backbone())} == {"layer1", "layer2"}


def test_layers_are_numbered_from_the_stem_without_shortcuts() -> None:
    assert [layer.number for layer in inner_convs(small_backbone(option="B"))] == [2, 4, 6, 8]
    assert [layer.number for layer in inner_convs(small_backbone(bottleneck=True))] == [2, 3, 5, 6, 8, 9, 11, 12]


@pytest.mark.parametrize("bottleneck", [False, True])
def test_removing_silent_filters_changes_no_output(bottleneck: bool) -> None:
    whole = silenced(small_backbone(bottleneck, option="B"))
    small, x = pruned(deepcopy(whole)), random_images(5)
    with torch.no_grad():
        torch.testing.assert_close(small(x), whole(x), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(FoldedBackbone(small)(x), whole(x), rtol=1e-4, atol=1e-5)


def test_what_is_left_is_counted_and_nothing_else() -> None:
    backbone = pruned(small_backbone())
    costs = {cost.name: cost.macs for cost in static_costs(backbone, SHAPE)}
    assert costs["layer1.0.conv1"] == 8 * 8 * 9 * 4 * 2
    assert costs["layer1.0.conv2"] == 8 * 8 * 9 * 2 * 4
    assert costs["layer2.0.conv1"] == 4 * 4 * 9 * 4 * 2
    assert sum(costs.values()) == 8 * 8 * 9 * (3 * 4 + 4 * 8) + 4 * 4 * 9 * 2 * (4 + 8 + 8 + 8) + 8 * CLASSES
    assert all(block.mid_channels == 2 for _, block in backbone.named_blocks())


def test_it_trains_on_with_the_same_memory_format_and_frozen_parameters() -> None:
    backbone = small_backbone().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    layer = next(inner_convs(backbone))
    layer.conv.weight.requires_grad_(False)
    pruned(backbone)
    assert not layer.conv.weight.requires_grad
    assert layer.reader.weight.is_contiguous(memory_format=torch.channels_last)
    assert not layer.reader.weight.is_contiguous()
    backbone(random_images(4)).sum().backward()
    assert layer.reader.weight.grad is not None
    assert layer.norm.weight.grad is not None
    assert layer.norm.running_mean is not None
    assert not layer.norm.running_mean.requires_grad


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("prefix", ["", "net."])
def test_a_net_is_shrunk_to_the_weights_that_it_is_to_hold(bottleneck: bool, prefix: str) -> None:
    trained, fresh = pruned(small_backbone(bottleneck)), small_backbone(bottleneck)
    fit_filters(fresh, {f"{prefix}{name}": value for name, value in trained.state_dict().items()}, prefix)
    assert {n: v.shape for n, v in fresh.state_dict().items()} == {n: v.shape for n, v in trained.state_dict().items()}
    whole = small_backbone(bottleneck)
    before = {n: v.shape for n, v in whole.state_dict().items()}
    fit_filters(whole, whole.state_dict())
    assert {n: v.shape for n, v in whole.state_dict().items()} == before


def test_some_filter_has_to_be_left() -> None:
    layer = next(inner_convs(small_backbone()))
    with pytest.raises(ValueError, match=r"layer1\.0\.conv1: at least one filter"):
        layer.keep(torch.tensor([], dtype=torch.int64))


def test_grouped_convolutions_are_refused() -> None:
    backbone = ResNet(BasicBlock, ((4, 1),), SHAPE, CLASSES, "A")
    backbone.get_submodule("layer1.0").conv2 = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
    with pytest.raises(ValueError, match="grouped"):
        next(inner_convs(backbone)).keep(KEPT)
