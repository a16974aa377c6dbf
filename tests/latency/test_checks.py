"""An executor that keeps answers is told from one that merely has less to do."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from dynbench.errors import AuditFailed
from dynbench.latency import checks
from dynbench.latency.checks import Timed

SIZE = 8


class Exits:
    """Pretends to be a trained net of two layers, whose images leave after the first, but for never-seen ones."""

    def __init__(self, seen: Tensor, *, go_on: bool) -> None:
        self.seen, self.go_on = seen, go_on

    def infer(self, images: Tensor, points: Any) -> tuple[Any, ...]:
        behind = self.go_on and not torch.equal(images, self.seen)
        return (SimpleNamespace(usage=1 if behind else 0),)

    def costs(self, behind: int, images: int) -> Any:
        by_kind = torch.tensor([[10, 0, 0]] * images)
        return SimpleNamespace(by_kind=by_kind, by_layer=torch.tensor([10.0 * images, 0.1 * behind]))


@pytest.mark.parametrize(("go_on", "found"), [(True, False), (False, True)])
def test_layers_that_only_others_reach_take_time(monkeypatch: pytest.MonkeyPatch, go_on: bool, found: bool) -> None:
    """Three times the time: of twice the layers it is no finding, of the same ones it is."""
    images = torch.rand(SIZE, 3, 8, 8)
    timed = Timed(cast(Any, Exits(images, go_on=go_on)), nn.Identity(), cast(Any, SimpleNamespace(name="p")), images)
    monkeypatch.setattr(checks, "once", lambda _, batch: 1.0 if torch.equal(batch, images) else 3.0)
    if not found:
        checks._check_not_remembered(timed, SIZE)
        return
    with pytest.raises(AuditFailed, match=r"3\.0 times faster than others"):
        checks._check_not_remembered(timed, SIZE)
