import math
from collections.abc import Callable

import pytest
import torch
from dynbench_methods.dense import Dense
from torch import nn
from torch.nn.functional import cross_entropy

from dynbench.stage import Progress, lasting, make_optimizer, make_schedule, parameter_groups, recipe_stage
from dynbench.suite.recipe import Adam, Constant, Cosine, Recipe, Sgd, StepDecay
from tests.helpers.small import CLASSES, random_images, small_backbone

STEP = StepDecay(name="step", milestones=(90, 180), gamma=0.1)


def schedule(epochs: int, shape: StepDecay | Cosine | Constant, warmup: float = 0.0) -> Callable[[float], float]:
    recipe = Recipe(epochs=epochs, schedule=shape, warmup_epochs=warmup)
    return make_schedule(recipe, epochs)


class Gated(nn.Module):
    """Names that are prefixes of one another."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(2, 3)
        self.gates = nn.Linear(2, 1)
        self.gates_of_others = nn.Linear(2, 1)


# Schedules


@pytest.mark.parametrize(
    ("epoch", "factor"), [(0.0, 1), (0.5, 1), (89.99, 1), (90.0, 0.1), (179.9, 0.1), (180.0, 0.01), (270.0, 0.01)]
)
def test_step_decay(epoch: float, factor: float) -> None:
    assert schedule(270, STEP)(epoch) == pytest.approx(factor)


@pytest.mark.parametrize("floor", [0.0, 0.1, 1.0])
def test_cosine(floor: float) -> None:
    at = schedule(20, Cosine(name="cosine", floor=floor))
    assert at(0) == 1
    assert at(10) == pytest.approx((1 + floor) / 2)
    assert at(5) == pytest.approx(floor + (1 - floor) * (1 + math.cos(math.pi / 4)) / 2)
    assert at(20) == pytest.approx(floor)
    assert at(21) == pytest.approx(floor)


def test_constant() -> None:
    at = schedule(10, Constant(name="constant"))
    assert [at(epoch) for epoch in (0, 5, 10)] == [1, 1, 1]


def test_warmup_rises_in_a_line_and_the_cosine_starts_after_it() -> None:
    at = schedule(12, Cosine(name="cosine"), warmup=2)
    assert at(0.5) == pytest.approx(0.25)
    assert at(1) == pytest.approx(0.5)
    assert at(2) == 1
    assert at(7) == pytest.approx(0.5)
    assert at(12) == pytest.approx(0)


def test_warmup_of_a_step_schedule() -> None:
    at = schedule(270, STEP, warmup=5)
    assert [at(1), at(5), at(100)] == pytest.approx([0.2, 1, 0.1])


def test_warmup_as_long_as_the_stage() -> None:
    assert schedule(2, Cosine(name="cosine"), warmup=2)(2) == 1


# Parameter groups and optimizers


def test_parameter_groups() -> None:
    model = Gated()
    rest, gates = parameter_groups(model, {"gates": 0.01})
    assert rest["params"] == [*model.backbone.parameters(), *model.gates_of_others.parameters()]
    assert "lr" not in rest
    assert gates == {"params": list(model.gates.parameters()), "lr": 0.01}


def test_a_prefix_may_be_one_parameter() -> None:
    model = Gated()
    _, bias = parameter_groups(model, {"gates.bias": 0.5})
    assert bias == {"params": [model.gates.bias], "lr": 0.5}


def test_frozen_parameters_are_left_out() -> None:
    model = Gated()
    model.gates.requires_grad_(False)
    groups = parameter_groups(model, {"gates": 0.01})
    assert [group["params"] for group in groups] == [
        [*model.backbone.parameters(), *model.gates_of_others.parameters()]
    ]


def test_sgd() -> None:
    spec = Sgd(name="sgd", lr=0.3, momentum=0.8, nesterov=True, weight_decay=1e-3)
    optimizer = make_optimizer(spec, Gated(), {"gates": 0.01})
    assert isinstance(optimizer, torch.optim.SGD)
    assert [group["lr"] for group in optimizer.param_groups] == [0.3, 0.01]
    for group in optimizer.param_groups:
        settings = [group[key] for key in ("momentum", "dampening", "nesterov", "weight_decay")]
        assert settings == [0.8, 0, True, 1e-3]


def test_adam() -> None:
    optimizer = make_optimizer(Adam(name="adam", lr=0.02, betas=(0.8, 0.99), weight_decay=0.1), Gated())
    assert isinstance(optimizer, torch.optim.Adam)
    (group,) = optimizer.param_groups
    assert [group[key] for key in ("lr", "betas", "weight_decay")] == [0.02, (0.8, 0.99), 0.1]


# The recipe's stage


def test_recipe_stage() -> None:
    recipe = Recipe(epochs=7, label_smoothing=0.2, optimizer=Sgd(name="sgd", lr=0.3), schedule=Cosine(name="cosine"))
    stage = recipe_stage(Dense(Dense.Config()), recipe)
    model = small_backbone().eval()
    assert (stage.name, stage.epochs, stage.edit) == ("train", 7, None)
    assert stage.schedule(3.5) == pytest.approx(0.5)
    assert stage.optimizer(model).param_groups[0]["lr"] == 0.3
    x, y = random_images(5), torch.arange(5) % CLASSES
    logs = model(x).log_softmax(1)
    smooth = torch.full((5, CLASSES), 0.2 / CLASSES).scatter_add(1, y[:, None], torch.full((5, 1), 0.8))
    loss = stage.loss(model, x, y, Progress(0, 7, 0.0))
    torch.testing.assert_close(loss, -(smooth * logs).sum(1).mean())
    assert not torch.allclose(loss, cross_entropy(model(x), y))


def test_a_method_may_hand_over_several_stages() -> None:
    recipe = Recipe(epochs=2)
    method = Dense(Dense.Config())
    assert [stage.name for stage in method.stages(recipe)] == ["train"]
    assert recipe_stage(method, recipe, "tune").name == "tune"


def test_a_recipe_over_other_epochs_keeps_its_shape() -> None:
    recipe = Recipe(epochs=270, schedule=StepDecay(name="step", milestones=(90, 180)))
    shorter = lasting(recipe, 27)
    assert (shorter.epochs, shorter.schedule) == (27, StepDecay(name="step", milestones=(9, 18)))
    assert lasting(recipe, None) is recipe
    assert lasting(Recipe(epochs=20), 5) == Recipe(epochs=5)
