"""A module of ours in a fresh process: `python -m MODULE ARGUMENTS`.

What is started is `python -m dynbench.isolate.module MODULE ARGUMENTS`, which does the same and leaves nothing running
that MODULE has started.
"""

import os
import runpy
import subprocess
import sys

from dynbench.errors import LONGEST, shortened
from dynbench.isolate.limits import ChildEnded, LimitWatch, ProcessLimits, how_it_ended
from dynbench.isolate.output import OutputTail
from dynbench.isolate.process_tree import ending_descendants
from dynbench.isolate.pulse import PULSE

POLL_SECONDS = 0.2


def run_module(module: str, *arguments: str, limits: ProcessLimits) -> None:
    """Run it to its end.

    Raises ChildEnded, with the last line of its standard error, when it fails or is beyond a limit.
    """
    source, sink = os.pipe()
    signs, pulse = os.pipe()
    command = [sys.executable, "-m", "dynbench.isolate.module", module, *arguments]
    worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pulse, stderr=sink)
    os.close(sink)
    os.close(pulse)
    output, watch = OutputTail(source), LimitWatch(worker.pid, limits, signs)
    try:
        code = _wait(worker, watch)
    finally:
        watch.kill()
        worker.wait()
        os.close(signs)
    if code:
        said = output.last().decode(errors="replace").strip().splitlines()
        raise ChildEnded(shortened(said[-1], LONGEST) if said and code > 0 else how_it_ended(code))


def _wait(worker: "subprocess.Popen[bytes]", watch: LimitWatch) -> int:
    while True:
        try:
            return worker.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            watch.check()


def _main() -> None:
    """Run the module that the arguments name, in this process."""
    del sys.argv[0]
    _give_signs()
    with ending_descendants():
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _give_signs() -> None:
    """The standard output is for signs of life alone: what is printed goes nowhere."""
    PULSE.into(os.dup(sys.stdout.fileno()))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    _main()
