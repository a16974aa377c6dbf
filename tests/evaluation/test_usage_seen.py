"""What is kept of usage beside a record: by image and layer, by class and channel, by position."""

import numpy as np
import torch
from dynbench_methods.dense import Dense
from dynbench_methods.lc_net.method import LCNet
from torch import nn

from dynbench.contract import make_subject
from dynbench.cost import CostModel, LayerCost, LayerUsage
from dynbench.data.split import Split
from dynbench.evaluation.usage_seen import UsageSeen, channel_masks
from dynbench.record.usage_arrays import WHOLE, PointUsage, point_usage
from tests.helpers.small import CPU, random_split

LAYERS = (
    LayerCost("whole", "backbone", 100),
    LayerCost("writes", "backbone", 400, inputs=1, outputs=4, positions=1),
    LayerCost("reads", "backbone", 400, inputs=4, outputs=1, positions=1),
    LayerCost("masked", "backbone", 400, inputs=1, outputs=1, positions=4),
)
LABELS = torch.tensor([0, 0, 2, 2])
CHANNELS = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]]).bool()
POSITIONS = torch.tensor([[[1, 0], [0, 0]], [[1, 1], [0, 0]], [[1, 0], [0, 0]], [[1, 1], [1, 1]]]).bool()


def seen(*parts: slice) -> UsageSeen:
    """Of the images, in batches."""
    found = UsageSeen()
    for part in parts:
        channels = CHANNELS[part]
        usage = {
            "writes": LayerUsage(outputs=channels),
            "reads": LayerUsage(inputs=channels),
            "masked": LayerUsage(positions=POSITIONS[part]),
        }
        found.add(usage, len(channels), CostModel(LAYERS, CPU))
    return found


def check(usage: PointUsage) -> None:
    assert usage.column.tolist()[0] == WHOLE
    assert usage.column[1] == usage.column[2] != usage.column[3]
    assert usage.shares.shape == (4, 2)
    np.testing.assert_array_equal(usage.of_layer(0), np.ones(4))
    np.testing.assert_allclose(usage.of_layer(1), [0.25, 0.5, 0.5, 1], atol=0.5 / 255)
    np.testing.assert_allclose(usage.of_layer(3), [0.25, 0.5, 0.25, 1], atol=0.5 / 255)
    assert usage.activation.keys() == {"writes"}  # "reads" has the same mask
    assert usage.activation["writes"].tolist() == [[255, 128, 0, 0], [0, 0, 0, 0], [128, 128, 255, 255]]
    assert usage.positions["masked"].tolist() == [[255, 128], [64, 64]]


def test_by_image_by_class_and_by_position() -> None:
    check(seen(slice(0, 4)).by_class(LABELS))
    check(seen(slice(0, 3), slice(3, 4)).by_class(LABELS))
    halves = seen(slice(0, 1)).on_host(), seen(slice(1, 4)).on_host()
    check(UsageSeen.together(halves).by_class(LABELS))


def test_it_goes_through_a_file() -> None:
    arrays = seen(slice(0, 4)).by_class(LABELS).arrays("p=0.5")
    found = point_usage(arrays, "p=0.5")
    assert found is not None
    check(found)
    assert point_usage(arrays, "p=0.7") is None  # nor in an older file


def test_only_whole_masks_are_kept() -> None:
    fraction = LayerUsage(outputs=torch.tensor([0.5, 1.0]), positions=torch.tensor([True, False]))
    assert channel_masks({"a": fraction}) == []


def random_gates(kind: type[LCNet]) -> tuple[nn.Module, PointUsage]:
    subject = make_subject(kind, "resnet8", 0.5)
    trained = list(subject.models.values())[-1]
    split = Split(subject.data.validation.images, subject.data.validation.labels)
    (evaluation,) = trained.evaluate(split, trained.points[:1], with_usage=True)
    assert evaluation.usage is not None
    shares = np.stack([evaluation.usage.of_layer(index) for index in range(len(trained.costs.layers))], 1)
    whole = np.array([layer.macs for layer in trained.costs.layers])
    np.testing.assert_allclose((shares * whole).sum(1), evaluation.total_macs, rtol=0.01)
    return trained.model, evaluation.usage


def test_lc_net_gives_masks() -> None:
    model, usage = random_gates(LCNet)
    gated = [f"backbone.{name}.conv1" for name, _ in model.backbone.named_blocks()]  # type: ignore[union-attr, operator]
    assert sorted(usage.activation) == sorted(gated)
    assert all(array.shape[0] == 10 and 0 < array.mean() < 255 for array in usage.activation.values())


def test_a_static_net_keeps_nothing() -> None:
    subject = make_subject(Dense, "resnet8", 0.25)
    trained = subject.models["trained"]
    (evaluation,) = trained.evaluate(random_split(4, (1, 8, 8), 10), with_usage=True)
    assert evaluation.usage is not None
    assert evaluation.usage.arrays("default") == {}
    (without,) = trained.evaluate(random_split(4, (1, 8, 8), 10))
    assert without.usage is None
