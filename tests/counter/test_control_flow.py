"""`torch.cond`, `while_loop` and loops of Python take the branch and the turns that they take: once, warm or cold."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._higher_order_ops import while_loop

from dynbench.counter.dispatch import counted
from dynbench.counter.work import Work
from dynbench.evaluation.execution_trace import trace

CHEAP, DEAR, STEP = 16 * 4, 16 * 32 + 32 * 4, 16 * 16


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cheap = nn.Linear(16, 4)
        self.expensive = nn.Sequential(nn.Linear(16, 32), nn.Linear(32, 4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, self.cheap, self.expensive, (x,))


class Turns(nn.Module):
    """As many turns as the first number says."""

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        most = x[0, 0].clone()
        start = torch.zeros(())
        return while_loop(lambda i, h: i < most, lambda i, h: (i + 1, self.step(h)), (start, x))[1]


class PythonTurns(Turns):
    def forward(self, x: Tensor) -> Tensor:
        h = x
        for _ in range(int(x[0, 0])):
            h = self.step(h)
        return h


def dear_image() -> Tensor:
    return -torch.ones(1, 16)


@pytest.fixture(autouse=True)
def cold() -> None:
    torch._dynamo.reset()


def both(model: nn.Module, x: Tensor) -> Work:
    expected = (model.cheap if float(x.sum()) > 0 else model.expensive)(x)  # type: ignore[operator]
    work, logits = counted(lambda: model(x))
    torch.testing.assert_close(logits, expected)
    return work


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_branch_is_counted_once_and_answers_itself(mode: Callable[[], object]) -> None:
    model = Branches().eval()
    with mode():  # type: ignore[attr-defined]
        for _ in range(2):  # cold, and warm
            assert both(model, torch.ones(1, 16)).macs == CHEAP
            assert both(model, dear_image()).macs == DEAR


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [Turns, PythonTurns])
@pytest.mark.parametrize("turns", [0, 1, 5])
def test_every_turn_is_counted(kind: type[Turns], turns: int) -> None:
    model, x = kind().eval(), torch.ones(1, 16)
    x[0, 0] = turns
    with torch.no_grad():
        work, found = counted(lambda: model(x))
        expected = x
        for _ in range(turns):
            expected = model.step(expected)
    assert work.macs == turns * STEP
    torch.testing.assert_close(found, expected)


@pytest.mark.filterwarnings("ignore")
def test_the_trace_sees_the_branch_as_well_once_it_is_warm() -> None:
    model = Branches().eval()
    with torch.no_grad():
        assert trace(lambda: model(dear_image())).macs > DEAR
        assert trace(lambda: model(dear_image())).macs == DEAR
        assert trace(lambda: model(torch.ones(1, 16))).macs == CHEAP


def test_other_control_flow_is_refused_by_its_name() -> None:
    work = Work()
    work.refuse("higher_order::scan")
    work.refuse("higher_order::scan")
    assert work.refused == ["higher_order::scan"]
