"""Pruning to a given number of MACs: as near as whole filters allow, the same share of every layer."""

from collections import Counter
from copy import deepcopy
from fractions import Fraction

import pytest
import torch
from dynbench_methods.pruning.filter_pruning import FilterPruning
from dynbench_methods.pruning.mac_target import PrunedMacs, nearest_removal, uniform_order
from hypothesis import given, settings
from hypothesis import strategies as st

from dynbench.backbones import Backbone, build_backbone
from dynbench.backbones.removal import inner_convs
from dynbench.cost import dense_macs
from dynbench.suite.schema import BackboneSpec
from tests.helpers.small import small_backbone

FILTERS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 12), min_size=1)


def remove(backbone: Backbone, removed: Counter[str]) -> int:
    """The measured MACs of a copy without these filters."""
    copy = deepcopy(backbone)
    for layer in inner_convs(copy):
        layer.keep(torch.arange(layer.filters - removed[layer.name]))
    return dense_macs(copy)


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("removed", [{}, {"layer1.0.conv1": 3, "layer2.1.conv1": 1}, {"layer2.0.conv1": 5}])
def test_macs_of_a_pruned_net_are_foretold_exactly(bottleneck: bool, removed: dict[str, int]) -> None:
    backbone = small_backbone(bottleneck, option="B")
    macs = PrunedMacs(backbone)
    assert macs(removed) == remove(backbone, Counter(removed))
    assert macs.dense == dense_macs(backbone)
    last = {layer.name: layer.filters - 1 for layer in inner_convs(backbone)}
    assert macs.least(last) == remove(backbone, Counter(last))


@given(FILTERS, st.integers(0, 60))
def test_the_order_takes_the_same_share_of_every_layer(filters: dict[str, int], steps: int) -> None:
    order = uniform_order(filters)
    assert Counter(order) == Counter({layer: count - 1 for layer, count in filters.items() if count > 1})
    removed = Counter(order[:steps])
    share = max((Fraction(removed[layer], count) for layer, count in filters.items()), default=Fraction(0))
    for layer, count in filters.items():
        behind = share * count - removed[layer]
        assert 0 <= behind <= 1 or removed[layer] == count - 1


@settings(deadline=None)
@given(FILTERS, st.data())
def test_the_result_is_within_half_of_the_cheapest_filter(filters: dict[str, int], data: st.DataObject) -> None:
    costs = {layer: data.draw(st.integers(1, 9), label=layer) for layer in filters}

    def macs(removed: "Counter[str]") -> int:
        return 100 + sum(costs[layer] * (filters[layer] - removed.get(layer, 0)) for layer in filters)

    target = data.draw(st.integers(100, 300))
    removed = nearest_removal(uniform_order(filters), macs, target)  # type: ignore[arg-type]
    assert all(0 <= removed[layer] < count for layer, count in filters.items())
    whole, least = macs(Counter()), macs(Counter({layer: count - 1 for layer, count in filters.items()}))
    if least <= target <= whole:
        unfinished = [costs[layer] for layer, count in filters.items() if removed[layer] < count - 1]
        last = max((costs[layer] for layer in removed), default=0)  # its last filter was the one that came nearer
        assert abs(macs(removed) - target) <= min(unfinished, default=last) / 2
    else:
        assert macs(removed) == (whole if target > whole else least)


@pytest.mark.parametrize("name", ["resnet8", "resnet20", "resnet18"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.83])
def test_a_pruned_net_costs_what_was_asked_for(name: str, share: float) -> None:
    backbone = build_backbone(BackboneSpec(name=name), (3, 32, 32), 10)
    dense = dense_macs(backbone)
    FilterPruning(FilterPruning.Config(macs=share)).prune(backbone)
    assert dense_macs(backbone) == pytest.approx(share * dense, rel=0.005)
    shares = [block.mid_channels / block.out_channels for _, block in backbone.named_blocks()]
    assert max(shares) - min(shares) <= 2 / 16  # of the narrowest stage's filters, one more or less


def test_depthwise_convolutions_are_told_with_the_filters_that_they_follow() -> None:
    backbone = build_backbone(BackboneSpec(name="mobilenet_v2", width=0.5), (3, 64, 64), 10)
    macs, removed = PrunedMacs(backbone), Counter[str]()
    for index, layer in enumerate(inner_convs(backbone)):
        removed[layer.name] = 3 * index
        layer.keep(torch.arange(layer.filters - 3 * index))
    assert macs(removed) == dense_macs(backbone) < macs.dense


def test_skipped_layers_are_left_whole() -> None:
    backbone = small_backbone()
    dense = dense_macs(backbone)
    FilterPruning(FilterPruning.Config(macs=0.8, skip=(2, 8))).prune(backbone)
    filters = {layer.number: layer.filters for layer in inner_convs(backbone)}
    assert (filters[2], filters[8]) == (4, 8)
    assert dense_macs(backbone) == pytest.approx(0.8 * dense, rel=0.05)


def test_a_target_out_of_reach_says_what_is_the_least() -> None:
    backbone = small_backbone()
    least = PrunedMacs(backbone).least(layer.name for layer in inner_convs(backbone)) / dense_macs(backbone)
    assert FilterPruning(FilterPruning.Config(macs=least + 0.01)).unsupported(backbone) is None
    reason = FilterPruning(FilterPruning.Config(macs=least - 0.01)).unsupported(backbone)
    assert reason is not None
    assert f"{least:.3g} of the dense MACs is the least" in reason
