"""Muon: convolutions are moved orthogonally, everything else as SGD moves it."""

from copy import deepcopy

import pytest
import torch
from dynbench_methods.dense import Dense
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.optim.optimizer import register_optimizer_step_post_hook

from dynbench.recipe.muon import MuonWithSgd, orthogonalised
from dynbench.stage import make_optimizer, recipe_stage
from dynbench.suite.recipe import Muon, Recipe, Sgd
from dynbench.train.budget import step_macs
from tests.helpers.small import SHAPE, random_images, small_backbone

SPEC = Muon(name="muon", lr=0.02, sgd_lr=0.1, momentum=0.9, weight_decay=5e-4)


def gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("shape", [(3, 4, 36), (2, 32, 9), (1, 16, 16)])
def test_singular_values_end_near_one(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalised(matrices, 5))
    assert float(values.max()) < 1.3
    assert float(values.median()) > 0.6
    assert torch.equal(orthogonalised(matrices, 5), orthogonalised(2 * matrices, 5))  # powers of two: no rounding


def test_what_is_no_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match=r"matrices \(count, rows, columns\) are expected, got \(4, 3\)"):
        orthogonalised(torch.ones(4, 3), 5)


def by_hand(weight: Tensor, given: list[Tensor]) -> Tensor:
    """The published algorithm, one weight at a time."""
    buffer = torch.zeros_like(weight)
    for gradient in given:
        buffer = 0.9 * buffer + gradient
        x = (gradient + 0.9 * buffer).flatten(1)
        x = x / x.norm()
        tall = x.shape[0] > x.shape[1]
        x = x.T if tall else x
        for _ in range(5):
            gram = x @ x.T
            x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
        weight = weight * len(weight) ** 0.5 / weight.norm() - 0.02 * (x.T if tall else x).reshape(weight.shape)
    return weight


def test_convolutions_take_the_published_steps_and_the_rest_those_of_sgd() -> None:
    model = small_backbone()
    plain = deepcopy(model)
    optimizer = make_optimizer(SPEC, model)
    named = [(name, one) for name, one in plain.named_parameters() if one.ndim != 4]
    groups = [
        {"params": [one for _, one in named if one.ndim == 2]},
        {"params": [one for _, one in named if one.ndim == 1], "weight_decay": 0.0},
    ]
    others = SGD(groups, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    start = {name: one.detach().clone() for name, one in model.named_parameters()}
    seen: list[dict[str, Tensor]] = []
    for step in range(3):
        gradients(model, step)
        gradients(plain, step)
        seen.append({name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None})
        optimizer.step()
        others.step()
    expected = dict(plain.named_parameters())
    for name, one in model.named_parameters():
        hand = by_hand(start[name], [given[name] for given in seen]) if one.ndim == 4 else expected[name]
        torch.testing.assert_close(one, hand, rtol=1e-4, atol=1e-5)


def test_a_group_with_a_rate_of_its_own_is_sgds() -> None:
    optimizer = make_optimizer(SPEC, small_backbone(), {"layer1": 0.3})
    own = [group for group in optimizer.param_groups if group["lr"] == 0.3]
    assert own
    assert not any(group["muon"] for group in own)
    assert [group["lr"] for group in optimizer.param_groups if group["muon"]] == [0.02]


def test_a_step_is_one_step_and_takes_no_closure() -> None:
    model, counted = small_backbone(), []
    optimizer = make_optimizer(SPEC, model)
    SGD(model.parameters(), lr=0.1)  # whose class is hooked from then on
    gradients(model, 0)
    hook = register_optimizer_step_post_hook(lambda *_: counted.append(1))
    try:
        optimizer.step()
    finally:
        hook.remove()
    assert counted == [1]
    with pytest.raises(ValueError, match="takes no closure"):
        optimizer.step(lambda: 0.0)


def test_it_goes_on_from_its_state_to_the_bit() -> None:
    whole = small_backbone()
    optimizer = make_optimizer(SPEC, whole)
    gradients(whole, 0)
    optimizer.step()
    again = deepcopy(whole)
    resumed = make_optimizer(SPEC, again)
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))
    for model, own in ((whole, optimizer), (again, resumed)):
        gradients(model, 1)
        own.step()
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), again.parameters(), strict=True))


def test_it_learns() -> None:
    torch.manual_seed(0)
    model = small_backbone()
    x, y = random_images(16), torch.arange(16) % 4
    optimizer = make_optimizer(SPEC, model)
    losses = []
    for _ in range(12):
        loss = cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_its_iterations_are_in_the_budget_and_sgd_has_none() -> None:
    model = small_backbone()
    expected = 0
    for parameter in model.parameters():
        if parameter.ndim == 4:
            rows, columns = sorted((len(parameter), parameter.numel() // len(parameter)))
            expected += SPEC.ns_steps * (2 * rows * rows * columns + rows**3)
    method = Dense(Dense.Config())
    muon, sgd = (recipe_stage(method, Recipe(epochs=1, optimizer=spec)) for spec in (SPEC, Sgd(name="sgd")))
    assert step_macs(muon, model) == expected
    assert step_macs(sgd, model) == 0
    assert isinstance(muon.optimizer(model), MuonWithSgd)
    assert model.input_shape == SHAPE
