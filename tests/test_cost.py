import math
from collections.abc import Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dynbench.backbones import Backbone
from dynbench.cost import KINDS, CostModel, ImageCosts, LayerCost, dense_macs, evaluating, static_costs
from dynbench.method import LayerUsage
from tests.helpers.small import CPU, SHAPE, random_images, small_backbone


class Controlled(nn.Module):
    """A backbone beside whatever a method might add to it."""

    def __init__(self, backbone: Backbone, control: nn.Module) -> None:
        super().__init__()
        self.policy, self.net = control, backbone

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + self.policy(x).sum()


def counted(model: nn.Module, shape: tuple[int, ...] = SHAPE) -> int:
    """MACs that torch really dispatches on one image."""
    with FlopCounterMode(display=False) as counter, evaluating(model):
        model(random_images(1, shape))  # type: ignore[arg-type]
    return int(counter.get_total_flops()) // 2


def by_name(model: nn.Module, shape: tuple[int, int, int] = SHAPE) -> dict[str, LayerCost]:
    return {cost.name: cost for cost in static_costs(model, shape)}


# Static costs


def test_costs_of_each_layer_by_hand() -> None:
    costs = {name: cost.macs for name, cost in by_name(small_backbone(option="B")).items()}
    assert costs == {
        "conv1": 9 * 3 * 4 * 64,
        **{f"layer1.{block}.conv{i}": 9 * 4 * 4 * 64 for block in (0, 1) for i in (1, 2)},
        "layer2.0.conv1": 9 * 4 * 8 * 16,
        "layer2.0.conv2": 9 * 8 * 8 * 16,
        "layer2.0.shortcut.0": 4 * 8 * 16,
        "layer2.1.conv1": 9 * 8 * 8 * 16,
        "layer2.1.conv2": 9 * 8 * 8 * 16,
        "linear": 8 * 4,
    }
    assert dense_macs(small_backbone(option="B")) == sum(costs.values())


def test_option_a_shortcuts_are_free() -> None:
    assert all(cost.kind == "backbone" for cost in static_costs(small_backbone(option="A"), SHAPE))


def test_kinds() -> None:
    control = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.LazyLinear(1))
    control(torch.zeros(1, *SHAPE))
    costs = by_name(Controlled(small_backbone(option="B"), control))
    kinds = {kind: [name for name, cost in costs.items() if cost.kind == kind] for kind in KINDS}
    assert kinds["control"] == ["policy.0", "policy.2"]
    assert kinds["shortcut"] == ["net.layer2.0.shortcut.0"]
    assert "net.layer2.0.conv1" in kinds["backbone"]
    assert costs["policy.0"].macs == 9 * 3 * 2 * 36
    assert costs["policy.2"].macs == 72


def test_a_gate_is_no_shortcut_for_its_name() -> None:
    control = nn.Sequential()
    control.add_module("shortcut", nn.Sequential(nn.Conv2d(3, 1, 1)))
    assert by_name(Controlled(small_backbone(), control))["policy.shortcut.0"].kind == "control"


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(3, 3, 1)
        self.weight = nn.Parameter(torch.ones(5, 3 * 64))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(self.inner(x).flatten(1), self.weight)


class Outside(Controlled):
    """Multiplies in the outermost module, whose MACs no usage could name."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(self.policy(x).flatten(1), torch.ones(5, 3 * 64)).sum() + self.net(x)


def test_macs_outside_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="960 MACs of the model are spent outside its named layers"):
        static_costs(Outside(small_backbone(), nn.Conv2d(3, 3, 1)), SHAPE)


def test_a_module_is_a_layer_for_what_it_multiplies_itself() -> None:
    costs = by_name(Controlled(small_backbone(), Functional()))
    assert (costs["policy"].macs, costs["policy.inner"].macs) == (960, 9 * 64)


def test_a_model_must_hold_a_backbone() -> None:
    with pytest.raises(ValueError, match="does not hold the backbone"):
        static_costs(nn.Sequential(nn.Conv2d(3, 3, 1)), SHAPE)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(6, 8, 3, padding=1),
        nn.Conv2d(6, 8, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(6, 9, 3, groups=3),
        nn.Conv2d(6, 6, 5, stride=3, groups=6, padding=2),
        nn.Conv2d(6, 4, (1, 3), dilation=2),
        nn.Sequential(nn.Flatten(), nn.Linear(6 * 81, 5), nn.ReLU(), nn.Linear(5, 2, bias=False)),
        nn.Sequential(
            nn.AdaptiveAvgPool2d(2), nn.GroupNorm(2, 6), nn.BatchNorm2d(6), nn.LayerNorm(2), nn.Conv2d(6, 1, 1)
        ),
    ],
    ids=["plain", "strided", "grouped", "depthwise", "dilated", "linear", "uncounted"],
)
def test_static_costs_are_what_torch_dispatches(layer: nn.Module) -> None:
    shape = (6, 9, 9)
    backbone = small_backbone(shape=shape)
    control = sum(cost.macs for cost in static_costs(Controlled(backbone, layer), shape) if cost.kind == "control")
    assert control == counted(layer, shape) > 0


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("option", ["A", "B"])
def test_a_backbone_costs_what_torch_dispatches(bottleneck: bool, option: str) -> None:
    backbone = small_backbone(bottleneck, option)
    assert dense_macs(backbone) == counted(backbone)


def test_counting_leaves_the_model_as_it_was() -> None:
    backbone = small_backbone().train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    static_costs(backbone, SHAPE)
    assert backbone.training
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


# Usage -> MACs

LAYERS = (
    LayerCost("a", "backbone", 3 * 5 * 7 * 64, inputs=3, outputs=5, positions=64),
    LayerCost("b", "shortcut", 12 * 16),
    LayerCost("gate", "control", 30),
)
CHANNELS = {"inputs": 3, "outputs": 5, "positions": 64}
model = CostModel(LAYERS, CPU)


def spent(usage: Mapping[str, LayerUsage], batch: int) -> list[int]:
    return list(map(int, model(usage, batch).by_kind.sum(1)))


def test_absent_means_all_and_zero_means_skipped() -> None:
    everything = model({}, 2)
    assert everything.by_kind.tolist() == [[LAYERS[0].macs, LAYERS[1].macs, LAYERS[2].macs]] * 2
    assert everything.by_kind.dtype == torch.int64
    assert everything.by_layer.tolist() == [2 * layer.macs for layer in LAYERS]
    skipped = model({"a": LayerUsage(positions=torch.tensor([0.0, 1.0]))}, 2)
    assert skipped.by_kind[:, 0].tolist() == [0, LAYERS[0].macs]


def masks(batch: int) -> st.SearchStrategy[dict[str, list[list[bool]]]]:
    return st.fixed_dictionaries(
        {
            name: st.lists(st.lists(st.booleans(), min_size=size, max_size=size), min_size=batch, max_size=batch)
            for name, size in CHANNELS.items()
        }
    )


def brute_force(mask: dict[str, list[list[bool]]], image: int) -> int:
    """MACs of layer a counted one by one: 7 for each active input, output and position."""
    active = [[i for i, on in enumerate(mask[name][image]) if on] for name in CHANNELS]
    return sum(7 for _ in active[0] for _ in active[1] for _ in active[2])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4).flatmap(masks))
def test_usage_equals_counting_one_by_one(mask: dict[str, list[list[bool]]]) -> None:
    given = {name: torch.tensor(rows) for name, rows in mask.items()}
    fractions = {name: rows.double().mean(1) for name, rows in given.items()}
    batch = len(mask["inputs"])
    expected = [brute_force(mask, image) for image in range(batch)]
    image_mask = {**given, "positions": given["positions"].view(batch, 8, 8)}
    for usage in (fractions, image_mask, {**fractions, "outputs": given["outputs"]}):
        costs: ImageCosts = model({"a": LayerUsage(**usage)}, batch)
        assert costs.by_kind[:, 0].tolist() == expected
        assert costs.by_layer[0] == sum(expected)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 2048), st.integers(1, 2048), st.integers(1, 9 * 64 * 64))
def test_fractions_of_large_layers_are_exact(data: st.DataObject, inputs: int, outputs: int, rest: int) -> None:
    active_in, active_out = data.draw(st.integers(0, inputs)), data.draw(st.integers(0, outputs))
    large = CostModel((LayerCost("a", "backbone", inputs * outputs * rest),), CPU)
    fractions = torch.tensor([[active_in / inputs], [active_out / outputs]], dtype=torch.float64)
    exact = active_in * active_out * rest
    found = int(large({"a": LayerUsage(inputs=fractions[0], outputs=fractions[1])}, 1).by_kind[0, 0])
    assert found == exact


def test_products_are_taken_image_by_image() -> None:
    inputs, outputs = torch.tensor([0.0, 1.0]).double(), torch.tensor([1.0, 0.0]).double()
    assert model({"a": LayerUsage(inputs=inputs, outputs=outputs)}, 2).by_kind[:, 0].tolist() == [0, 0]
    assert float(inputs.mean() * outputs.mean()) == 0.25


def test_other_layers_are_not_touched() -> None:
    half = torch.full((1,), 0.5).double()
    assert spent({"b": LayerUsage(outputs=half)}, 1) == [LAYERS[0].macs + LAYERS[1].macs // 2 + LAYERS[2].macs]


@pytest.mark.parametrize("part", ["inputs", "outputs", "positions"])
@pytest.mark.parametrize("value", [-0.001, 1.001, math.nan, math.inf])
def test_fractions_outside_the_unit_interval(part: str, value: float) -> None:
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        model({"a": LayerUsage(**{part: torch.tensor([1.0, value])})}, 2)


def test_one_part_does_not_make_up_for_another() -> None:
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        model({"a": LayerUsage(inputs=torch.tensor([2.0]), outputs=torch.tensor([0.5]))}, 1)
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        model({"a": LayerUsage(inputs=torch.tensor([-1.0]), outputs=torch.tensor([-1.0]))}, 1)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 1), (1, 2)])
def test_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r'usage of "a" has shape .*, expected \(2,\)'):
        model({"a": LayerUsage(outputs=torch.ones(shape))}, 2)


@pytest.mark.parametrize(
    ("layer", "usage", "words"),
    [
        ("a", LayerUsage(outputs=torch.ones(2, 4, dtype=torch.bool)), r"a bool mask of 5 outputs an image"),
        ("a", LayerUsage(inputs=torch.ones(2, 5, dtype=torch.bool)), r"a bool mask of 3 inputs an image"),
        ("a", LayerUsage(inputs=torch.ones(2, 3, 1, dtype=torch.bool)), r"\(2, 3, 1\)"),
        ("a", LayerUsage(positions=torch.ones(2, 8, 7, dtype=torch.bool)), r"64 positions an image"),
        ("a", LayerUsage(positions=torch.ones(1, 8, 8, dtype=torch.bool)), r"64 positions an image"),
        ("a", LayerUsage(outputs=torch.ones(2, 5)), r"\(2, 5\)"),
        ("b", LayerUsage(outputs=torch.ones(2, 5, dtype=torch.bool)), r"its channels and positions are not known"),
    ],
)
def test_a_mask_is_of_the_layer_s_own_size(layer: str, usage: LayerUsage, words: str) -> None:
    with pytest.raises(ValueError, match=f'usage of "{layer}" has shape .*{words}'):
        model({layer: usage}, 2)


def test_layers_know_their_channels_and_positions() -> None:
    costs = by_name(small_backbone(option="B"))
    sizes = {name: (cost.inputs, cost.outputs, cost.positions) for name, cost in costs.items()}
    assert sizes["conv1"] == (3, 4, 64)
    assert sizes["layer2.0.conv1"] == (4, 8, 16)
    assert sizes["layer2.0.shortcut.0"] == (4, 8, 16)
    assert sizes["linear"] == (8, 4, 1)


class Unrolled(nn.Module):
    """Calls one layer `calls` times on an image, or as often as its first pixel says."""

    calls = 3

    def __init__(self) -> None:
        super().__init__()
        self.net, self.shared = small_backbone(), nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x, self.calls)

    def run(self, x: Tensor, calls: int) -> Tensor:
        for _ in range(calls):
            x = self.shared(x)
        return self.net(x)


def test_a_layer_that_is_called_several_times() -> None:
    """Its static cost is that of all calls, its usage n / N, exactly what torch dispatches."""
    unrolled = Unrolled().eval()
    costs = CostModel(static_costs(unrolled, SHAPE), CPU)
    (shared,) = [cost for cost in costs.layers if cost.name == "shared"]
    once = 9 * 3 * 3 * 64
    assert (shared.macs, shared.positions, shared.inputs) == (3 * once, 3 * 64, 3)
    ran = torch.tensor([[True, False, False], [True, True, False], [True, True, True]])
    for positions in (torch.tensor([1, 2, 3]).double() / 3, ran.repeat_interleave(64, 1).view(3, 3, 8, 8)):
        macs = costs({"shared": LayerUsage(positions=positions)}, 3).by_kind.sum(1)
        for calls in (1, 2, 3):
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                unrolled.run(random_images(1), calls)
            assert int(macs[calls - 1]) == counter.get_total_flops() // 2


def test_unknown_layer() -> None:
    with pytest.raises(ValueError, match='usage names "c", which is not a layer with MACs'):
        model({"c": LayerUsage()}, 2)
