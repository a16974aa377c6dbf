from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dynbench.backbones import Backbone
from dynbench.cost import KINDS, static_costs
from dynbench.data.split import Split
from dynbench.evaluation.answers import PointEvaluation
from dynbench.method import LayerUsage, Method, MethodConfig, Output, Point
from tests.helpers.small import CLASSES, CPU, SHAPE, ask, random_data, random_split, small_backbone

ALL = Point("all")
BRIGHT = Point("bright")


class HalfOfTheDark(Method):
    """Runs half of the first convolution on images with a dark corner, and says so at one of its points."""

    name = "half_of_the_dark"

    def build(self, backbone: Backbone) -> nn.Module:
        return backbone

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        share = torch.where(x[:, 0, 0, 0] < 0, 0.5, 1.0).double()
        usage = {"conv1": LayerUsage(outputs=share)}
        return [Output(model(x), usage if point == BRIGHT else {}) for point in points]


class Fixed(HalfOfTheDark):
    """Answers with logits that were decided beforehand."""

    logits: Tensor

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        return [Output(self.logits) for _ in points]


def evaluated(
    split: Split, batch_size: int, points: Sequence[Point] = (ALL,), method: Method | None = None
) -> tuple[PointEvaluation, ...]:
    model = small_backbone().train()
    return ask(method or HalfOfTheDark(MethodConfig()), model, batch_size=batch_size).evaluate(split, points)


def test_each_image_against_a_plain_loop() -> None:
    split = random_split(17)
    every, bright = evaluated(split, 5, (ALL, BRIGHT))
    model = small_backbone().eval()
    costs = static_costs(model, SHAPE)
    x = random_data().normalise(CPU)(split.images)
    with torch.no_grad():
        right = model(x).argmax(1) == split.labels
    dark = (x[:, 0, 0, 0] < 0).numpy()
    assert 0 < dark.sum() < len(dark)
    whole = sum(cost.macs for cost in costs)
    assert np.array_equal(every.correct, right.numpy())
    assert every.top1 == 100 * right.double().mean()
    assert every.total_macs.tolist() == [whole] * 17
    assert bright.total_macs.tolist() == [whole - costs[0].macs // 2 * bool(d) for d in dark]
    assert bright.macs.shape == (17, len(KINDS))
    assert bright.layer_macs[0] == pytest.approx(costs[0].macs * (1 - dark.mean() / 2))
    assert bright.layer_macs[1:].tolist() == [cost.macs for cost in costs[1:]]


def test_the_batch_size_does_not_matter() -> None:
    split = random_split(13)
    for one, other in zip(evaluated(split, 13, (ALL, BRIGHT)), evaluated(split, 4, (ALL, BRIGHT)), strict=True):
        assert np.array_equal(one.correct, other.correct)
        assert np.array_equal(one.macs, other.macs)
        np.testing.assert_allclose(one.layer_macs, other.layer_macs)


def test_top5() -> None:
    classes, images = 10, 10
    split = random_split(images, classes=classes)
    labels = torch.arange(images)
    method = Fixed(MethodConfig())
    method.logits = torch.arange(classes, 0, -1.0).expand(images, classes)  # class 0 highest, then 1, 2, ...
    (point,) = evaluated(Split(split.images, labels), images, method=method)
    assert point.correct.tolist() == [True] + [False] * 9
    assert point.correct5.tolist() == [True] * 5 + [False] * 5
    assert (point.top1, point.top5) == (10, 50)


def test_top5_of_fewer_classes_is_always_right() -> None:
    assert CLASSES < 5
    (point,) = evaluated(random_split(9), 9)
    assert point.top5 == 100


def test_evaluation_leaves_the_model_as_it_was() -> None:
    model = small_backbone().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    ask(HalfOfTheDark(MethodConfig()), model, batch_size=3).evaluate(random_split(6), [ALL])
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_model_is_restored_when_inference_fails() -> None:
    model = small_backbone().train()
    trained = ask(Fixed(MethodConfig()), model, batch_size=3)
    with pytest.raises(AttributeError):
        trained.evaluate(random_split(6), [ALL])
    assert model.training


def test_an_output_for_every_point() -> None:
    class Forgetful(HalfOfTheDark):
        def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
            return [Output(model(x))]

    with pytest.raises(ValueError, match="zip"):
        evaluated(random_split(6), 3, (ALL, BRIGHT), Forgetful(MethodConfig()))
