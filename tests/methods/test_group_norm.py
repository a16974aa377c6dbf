"""Group norm pruning: what a group is, the order of removal, and the net that is left."""

from typing import Any, cast

import pytest
import torch
from dynbench_methods.pruning.group_norm import GroupNorm, group_norms, group_penalty, rescored_order
from pydantic import ValidationError
from torch import nn

from dynbench.backbones import Backbone
from dynbench.backbones.removal import inner_convs
from dynbench.contract import CHECKS, make_subject
from dynbench.cost import dense_macs
from dynbench.method import Recipe, Sgd
from dynbench.stage import Progress, apply_edits
from tests.helpers.small import CLASSES, random_images, small_backbone


def method_of(**params: Any) -> GroupNorm:
    return GroupNorm(GroupNorm.Config.model_validate(params))


def test_a_group_by_hand() -> None:
    layer = next(inner_convs(small_backbone()))
    parts = layer.conv.weight.detach(), layer.norm.weight.detach(), layer.reader.weight.detach().transpose(0, 1)
    expected = [sum(float(part[index].square().sum()) for part in parts) / 3 for index in range(layer.filters)]
    assert group_norms(layer).tolist() == pytest.approx(expected)


def test_the_order_is_scored_anew_after_each_removal() -> None:
    """b: 1 of a mean of 4 first; then a's 2 of 6 before b's 5 of 5.5, and so on."""
    scores = {"a": torch.tensor([10.0, 2.0, 6.0]), "b": torch.tensor([1.0, 6.0, 5.0])}
    assert list(rescored_order(scores)) == ["b", "a", "a", "b"]
    assert list(rescored_order({"a": torch.tensor([3.0])})) == []
    scores = {"a": torch.tensor([10.0, 4.0, 4.0, 4.0]), "b": torch.tensor([2.0, 1.0])}
    assert [next(rescored_order(scores, by_largest)) for by_largest in (False, True)] == ["b", "a"]


def test_the_penalty_s_gradient_is_gamma_times_the_weight() -> None:
    layer = next(inner_convs(small_backbone()))
    importance = group_norms(layer).detach().sqrt()
    group_penalty([layer]).backward()  # type: ignore[no-untyped-call]
    assert layer.conv.weight.grad is not None
    ratio = (layer.conv.weight.grad / layer.conv.weight).detach().flatten(1)
    torch.testing.assert_close(ratio[importance.argmin()], torch.full_like(ratio[0], 16.0))
    torch.testing.assert_close(ratio[importance.argmax()], torch.ones_like(ratio[0]))


@pytest.mark.parametrize("share", [0.4, 0.7])
def test_it_prunes_to_a_share_of_the_macs_and_removes_the_least(share: float) -> None:
    backbone = small_backbone()
    first = next(inner_convs(backbone))
    with torch.no_grad():
        first.conv.weight[2], first.norm.weight[2], first.reader.weight[:, 2] = 0, 0, 0
    kept = first.conv.weight[[0, 1, 3]].clone()
    whole = dense_macs(backbone)
    method_of(macs=share).prune(backbone)
    assert dense_macs(backbone) / whole == pytest.approx(share, abs=0.06)
    assert all(bool((one == kept).all((1, 2, 3)).any()) for one in first.conv.weight), "the empty one has gone"


def test_sparse_learning_goes_before() -> None:
    recipe = Recipe(epochs=2, optimizer=Sgd(name="sgd", lr=0.1))
    sparse, retrain = method_of(sparse_epochs=3, epochs=4, macs=0.5).stages(recipe)
    assert [(stage.name, stage.epochs) for stage in (sparse, retrain)] == [("sparse", 3), ("retrain", 4)]
    backbone = cast("Backbone", small_backbone())
    (group,) = sparse.optimizer(backbone).param_groups
    assert (group["lr"], group["weight_decay"]) == (0.01, 0)
    x, y, progress = random_images(8), torch.arange(8) % CLASSES, Progress(0, 3, 0.0)
    layers = list(inner_convs(backbone))
    penalty = 5e-4 * group_penalty(layers)
    plain = nn.functional.cross_entropy(backbone.eval()(x), y)
    torch.testing.assert_close(sparse.loss(backbone, x, y, progress), plain + penalty)
    apply_edits(retrain, backbone, random_images)
    assert len(method_of(epochs=4).stages(recipe)) == 1


def test_bad_parameters() -> None:
    with pytest.raises(ValidationError, match="one number for ratios"):
        method_of(ratios=[0.1, 0.2, 0.3])


def test_it_keeps_the_contract() -> None:
    subject = make_subject(GroupNorm, "resnet8", 0.5, sparse_epochs=1)
    assert [outcome.words for check in CHECKS if (outcome := check(subject)).bad] == []
