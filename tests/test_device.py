"""The device, and what it computes in."""

from collections.abc import Iterator
from pathlib import Path

import cpuinfo
import pytest
import torch
from dynbench_methods.dense import Dense

from dynbench.device import choose_device, linux_cpu
from dynbench.errors import UserError
from dynbench.execute import execute
from dynbench.kernels.cpu import build
from dynbench.record import machine
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


@pytest.mark.skipif("model name" not in linux_cpu(), reason="Linux does not say so here")
def test_the_cpu_is_known_without_a_process_where_linux_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And it has the name that records of other systems' py-cpuinfo give it: latencies are compared by that."""
    found = cpuinfo.get_cpu_info()
    assert linux_cpu()["model name"] == found["brand_raw"]
    assert set(linux_cpu()["flags"].split()) <= set(found["flags"])
    monkeypatch.delattr(cpuinfo, "get_cpu_info")
    assert machine._cpu_name.__wrapped__() == found["brand_raw"]


def test_elsewhere_py_cpuinfo_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynbench.device.linux_cpu", dict)
    monkeypatch.setattr(build, "linux_cpu", dict)
    monkeypatch.setattr(cpuinfo, "get_cpu_info", lambda: {"brand_raw": "A CPU", "flags": ["sse", "avx"]})
    assert machine._cpu_name.__wrapped__() == "A CPU"
    assert build._features.__wrapped__() == "avx sse"
