"""Shared fixtures: suites, ways to run the command line, methods that are made up for one test."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from dynbench import registry
from dynbench.cli import main
from dynbench.cli.options import get_ready_to_run
from dynbench.guards.tampering import seal
from dynbench.isolate.call import in_this_process

Call = Callable[..., Result]
Cli = Callable[..., "subprocess.CompletedProcess[str]"]
Register = Callable[[str, Any], None]

TINY = """\
name: tiny
data: digits
backbones: [{name: resnet8, width: 0.25}]
recipe: {epochs: 1, batch_size: 128}
methods:
  - dense
  - {name: lc_net, params: {l1_layer: 0.1}}
tracking: none
latency: none
"""


class _Program(click.Command):
    """`dynbench.cli.main`, its handling of errors included, as CliRunner wants it."""

    def main(self, args: Any = None, **_: Any) -> Any:
        return main(list(args))


def pytest_configure() -> None:
    """Started in the background by a shell, these tests are deaf to Ctrl-C, and so would be the commands they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def children_get_ready() -> None:
    """What children are forked from imports all that a run needs, whichever test comes first: else each imports it."""
    get_ready_to_run()


@pytest.fixture(autouse=True)
def sealed_anew() -> None:
    """What a test has put in place of a part of the harness is its harness: sealed when its first run starts."""
    seal.cache_clear()


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    """`call("run", suite)`: the command line in this process; an error that nobody foresaw fails the test."""
    monkeypatch.setenv("DYNBENCH_DEBUG", "1")

    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(_Program("dynbench"), [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """`cli("run", suite)`: the command line in a process of its own."""

    def run(*arguments: object, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "dynbench", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **(env or {})}, check=False
        )

    return run


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A pipe that nobody writes into: who opens it in the usual way waits for ever."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.fixture
def tiny_suite(tmp_path: Path) -> Path:
    """Two small nets on the digits, one epoch each, no tracking."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results folder of the finished tiny suite; not to be written to."""
    folder = tmp_path_factory.mktemp("tiny")
    suite = folder / "tiny.yaml"
    suite.write_text(TINY)
    result = CliRunner().invoke(_Program("dynbench"), ["run", str(suite), "--results", str(folder / "results")])
    assert result.exit_code == 0, result.output
    return folder / "results"


@dataclass(frozen=True)
class _EntryPoint:
    name: str
    method: Any
    dist: None = None

    def load(self) -> Any:
        return self.method


@pytest.fixture
def in_process() -> Iterator[None]:
    """Runs are made in this process, where they see what was patched."""
    with in_this_process():
        yield


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch, in_process: None) -> Iterator[Register]:
    """`register("broken", Broken)`: a method that is registered for the length of one test, in this process."""
    plugins = dict(registry.discover())
    monkeypatch.setattr(registry, "discover", lambda: plugins)
    registry.load_method.cache_clear()

    def add(name: str, method: Any) -> None:
        plugins[name] = registry.Plugin(_EntryPoint(name, method))  # type: ignore[arg-type]

    yield add
    registry.load_method.cache_clear()
