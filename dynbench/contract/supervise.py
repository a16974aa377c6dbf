"""Tries a method in a process of its own: one that hangs, dies or prints a megabyte costs a line, nothing more."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dynbench.contract.check import Outcome
from dynbench.contract.checks import CHECKS
from dynbench.contract.request import Event, Request
from dynbench.errors import UserError
from dynbench.suite.schema import BackboneSpec

POLL = 0.1
START = 60.0
"""Seconds that importing everything may take, at least: a busy machine needs some."""


def outcomes(
    target: str, backbone: BackboneSpec, params: dict[str, object], timeout: float, memory: float
) -> Iterator[Outcome]:
    """The outcome of every check, as they come. `timeout` in seconds, for each of them; `memory` in GiB.

    Raises UserError when the method cannot be tried: it is unknown, does not import or does not support the backbone.
    """
    with tempfile.TemporaryDirectory() as name:
        events = Path(name) / "events"
        events.touch()
        asked = Path(name) / "request.json"
        request = Request(target=target, backbone=backbone, params=params, memory=memory, events=events)
        asked.write_text(request.model_dump_json())
        done: list[str] = []
        begun: str | None = None
        with _process(asked) as process:
            for event in _events(process, events, timeout):
                if event.cannot is not None:
                    raise UserError(event.cannot)
                begun = event.begun or begun
                if event.outcome is not None:
                    done.append(event.outcome.check)
                    yield event.outcome
            code = process.poll()
        yield from _unfinished(target, done, begun, _ended(code, timeout))


@contextmanager
def _process(asked: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The worker; it and whatever it started are gone afterwards."""
    worker = [sys.executable, "-m", "dynbench.contract.worker", str(asked)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(worker, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        yield process
    finally:
        _kill(process)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _events(process: "subprocess.Popen[bytes]", path: Path, timeout: float) -> Iterator[Event]:
    """What the worker says, until it ends or its time is up."""
    deadline = time.monotonic() + max(timeout, START)
    with path.open(encoding="utf-8") as lines:
        rest, ended = "", False
        while True:
            *whole, rest = (rest + lines.read()).split("\n")
            for line in whole:
                deadline = time.monotonic() + timeout
                yield Event.model_validate_json(line)
            if ended or time.monotonic() > deadline:
                return
            ended = process.poll() is not None  # what it said last is still to be read
            if not ended:
                time.sleep(POLL)


def _ended(code: int | None, timeout: float) -> str:
    """What became of a process that did not come to its end."""
    if code is None:
        return f"did not come back within {timeout:g} s; --timeout gives it longer"
    if code < 0:
        return f"ended the process by {signal.Signals(-code).name}"
    return f"ended the process with exit code {code}"


def _unfinished(target: str, done: list[str], begun: str | None, how: str) -> Iterator[Outcome]:
    """The checks that the worker did not come to. Raises UserError when it did not even begin."""
    if begun is None:
        raise UserError(f'method "{target}" cannot be tried: importing it {how}')
    for check in CHECKS:
        if check.name == begun and check.name not in done:
            yield check.outcome("broken", f"the check {how}")
        elif check.name not in done:
            yield check.outcome("not run", f'the check "{begun}" {how}')
