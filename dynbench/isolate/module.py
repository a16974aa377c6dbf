"""A module of ours in a fresh process: `python -m MODULE ARGUMENTS`."""

import os
import subprocess
import sys

from dynbench.isolate.limits import ChildEnded, LimitWatch, how_it_ended
from dynbench.isolate.output import OutputTail
from dynbench.suite.schema import Limits

POLL_SECONDS = 0.2


def run_module(module: str, *arguments: str, limits: Limits) -> None:
    """Run it to its end. Raises ChildEnded, with the last line of its standard error, when it fails or is beyond a
    limit."""
    source, sink = os.pipe()
    command = [sys.executable, "-m", "dynbench.isolate.process_tree", module, *arguments]
    worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=sink)
    os.close(sink)
    output, watch = OutputTail(source), LimitWatch(worker.pid, limits)
    try:
        code = _wait(worker, watch)
    finally:
        watch.kill()
        worker.wait()
    if code:
        said = output.last().decode(errors="replace").strip().splitlines()
        raise ChildEnded(said[-1] if said and code > 0 else how_it_ended(code))


def _wait(worker: "subprocess.Popen[bytes]", watch: LimitWatch) -> int:
    while True:
        try:
            return worker.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            watch.check()
