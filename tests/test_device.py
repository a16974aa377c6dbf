"""The device, and what it computes in."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from dynbench_methods.dense import Dense

from dynbench.device import choose_device
from dynbench.errors import UserError
from dynbench.execute import execute
from dynbench.suite.recipe import Recipe
from tests.helpers.small import make_context, make_run


def uses_tf32() -> bool:
    return torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32


@pytest.fixture(autouse=True)
def tf32() -> Iterator[None]:
    """As users of TF32 have it."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    assert uses_tf32()
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def test_fp32_is_no_tf32_once_a_device_is_chosen() -> None:
    choose_device("cpu")
    assert not uses_tf32()


def test_fp32_is_no_tf32_in_a_run(tmp_path: Path) -> None:
    assert execute(make_run(Dense, Recipe(epochs=1, batch_size=512)), make_context(tmp_path)).status == "finished"
    assert not uses_tf32()


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(UserError, match="device cuda:99 was asked for, but this machine has"):
        choose_device("cuda:99")
