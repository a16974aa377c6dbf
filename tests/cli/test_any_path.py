"""Whatever a path on the command line leads to, the command answers with a line or does without: it never waits."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree
from types import FrameType
from typing import Any
from urllib.error import URLError

import click
import pytest
import torchvision

from dynbench.cli import COMMANDS, cli
from tests.conftest import Call

SECONDS = 60
"""After which a command is taken to wait for ever."""
GIVEN = {
    "run": ("{suite}", "--results", "{new}", "--set", "data={dataset}"),
    "plan": ("{suite}", "--set", "data={dataset}"),
    "time": ("{results}",),
    "report": ("{results}",),
    "table": ("{results}",),
    "baseline": ("{results}", "-o", "{new}"),
    "check": ("{results}", "--baseline", "{baseline}"),
    "export": ("{results}",),
    "sync": ("{results}",),
    "evaluate": ("{weights}", "--backbone", "resnet8", "--width", "0.25", "--dataset", "{dataset}"),
    "verify": ("{record}",),
    "sensitivity": ("{weights}", "--backbone", "resnet8", "--width", "0.25", "--dataset", "{dataset}"),
    "test": ("dense",),
    "audit": ("{module}:make", "--data", "random:3x8x8", "--images", "1", "--batch-sizes", "0"),
    "new": ("any", "--into", "{new}"),
    "methods": (),
}
"""What each command needs at least."""
MODULE = """\
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 10))
"""


def _paths(name: str) -> Iterator[click.Parameter]:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    yield from (parameter for parameter in command.params if isinstance(parameter.type, click.Path))


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


WHAT: dict[str, Callable[[Path], None]] = {
    "pipe": _pipe,
    "socket": _socket,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "folder": lambda path: path.mkdir(),
    "bytes": lambda path: path.write_bytes(bytes(range(256))) and None,
    "nowhere": lambda path: path.symlink_to("nowhere"),
    "circle": lambda path: path.symlink_to(path.name),
}
DIGITS = ("time", "data")
"""The digits have no folder: whatever is given, a minute of timing follows."""
CASES = [(name, path.name or "") for name in COMMANDS for path in _paths(name) if (name, path.name) != DIGITS]
IN_USE = {("run", "results"), ("plan", "results")}
"""Here a folder, or nothing, is what is expected, and work would follow."""


@pytest.fixture
def bounded() -> Iterator[None]:
    def give_up(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"still waiting after {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def given(
    call: Call, finished: Path, tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Path]:
    def no_network(*_: Any, **__: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", no_network)
    monkeypatch.delenv("DYNBENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    results = copytree(finished, tmp_path / "results")
    module = tmp_path / "module.py"
    module.write_text(MODULE)
    baseline = tmp_path / "baseline.json"
    assert call("baseline", results, "-o", baseline).exit_code == 0
    return {
        "suite": tiny_suite,
        "results": results,
        "baseline": baseline,
        "weights": next(results.glob("work/dense*/model.safetensors")),
        "record": next(results.glob("records/dense*.json")),
        "module": module,
        "new": tmp_path / "new",
    }


def test_every_command_is_tried() -> None:
    assert set(GIVEN) == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"run", "time"}))  # these two are waited for elsewhere
def test_without_an_odd_path_it_works(call: Call, given: dict[str, Path], name: str) -> None:
    """Else what is refused below is another mistake."""
    result = call(name, *(word.format(**given, dataset="digits") for word in GIVEN[name]))
    assert result.exit_code == 0, result.output


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize(("name", "parameter"), CASES, ids=lambda part: part)
def test_any_path(call: Call, given: dict[str, Path], tmp_path: Path, name: str, parameter: str) -> None:
    path = next(path for path in _paths(name) if path.name == parameter)
    dataset = "cifar10" if parameter == "data" else "digits"
    words = [word.format(**given, dataset=dataset) for word in GIVEN[name]]
    for what, make in WHAT.items():
        if (name, parameter) in IN_USE and what in ("folder", "nowhere"):
            continue
        odd = tmp_path / what
        make(odd)
        if isinstance(path, click.Argument):
            result = call(name, odd, *words[1:])
        else:
            result = call(name, *words, path.opts[-1], odd)
        assert result.exit_code in (0, 2), (what, result.output)
        if result.exit_code == 2:
            assert result.stderr.count("error: ") + result.stderr.count("Error: ") == 1, (what, result.stderr)
        assert "Traceback" not in result.output
