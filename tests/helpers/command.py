"""The real command in a process of its own, to be killed, starved and lied to; and what its results come to."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dynbench.record.folder import ResultsFolder

DYNBENCH = (sys.executable, "-m", "dynbench")
SMALL = """\
name: small
data: digits
backbones: [{name: resnet8, width: 0.25}]
recipe: {epochs: 2, batch_size: 128}
methods:
  - dense
  - {name: lc_net, params: {l1_layer: 0.1}}
latency: none
"""


def many(name: str, default: int) -> int:
    """How often something is tried: `default`, or what the environment variable `name` says."""
    return int(os.environ.get(name, default))


def moments(seed: int) -> random.Random:
    """The same moments every time."""
    return random.Random(seed)


@dataclass(frozen=True)
class Ended:
    """How a command ended; `seconds` that it took."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def errors(self) -> list[str]:
        """The lines of its standard error."""
        return self.err.splitlines()


class Command:
    """A command under way, in a session of its own: nothing of it is left when the block ends."""

    def __init__(self, *arguments: object, prefix: tuple[str, ...] = (), **environment: str) -> None:
        self._started = time.monotonic()
        self.process = subprocess.Popen(
            [*prefix, *DYNBENCH, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_all()
        self.process.communicate()

    def kill_all(self) -> None:
        """End it with everything that is still in its group."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def killed_after(self, seconds: float) -> bool:
        """Kill it, and it alone, as `kill -9` does. False: it had ended."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return True
        return False

    def end(self) -> Ended:
        """Wait for its end."""
        out, err = self.process.communicate()
        return Ended(self.process.returncode, out, err, time.monotonic() - self._started)


def dynbench(*arguments: object, prefix: tuple[str, ...] = (), **environment: str) -> Ended:
    """Run the command to its end."""
    with Command(*arguments, prefix=prefix, **environment) as command:
        return command.end()


def is_told(ended: Ended) -> bool:
    """Whether what went wrong is said in lines for people: no traceback, nothing a terminal obeys."""
    return "Traceback" not in ended.err and not re.search("[\x00-\x08\x0b-\x1f]", ended.err)


def outcome(results: Path) -> dict[str, Any]:
    """Everything that has to be equal bit for bit, by run: history, points, per-image arrays, weights."""
    folder = ResultsFolder(results)
    return {record.run_id: _of_run(folder, record) for record in folder.records()}


def _of_run(folder: ResultsFolder, record: Any) -> dict[str, Any]:
    history = [epoch.model_dump(exclude={"time", "seconds"}) for epoch in record.history]
    arrays = {name: (array.shape, array.tobytes()) for name, array in folder.arrays(record.run_id).items()}
    return {
        "status": record.status,
        "history": history,
        "points": [point.model_dump() for point in record.points],
        "arrays": arrays,
        "weights": folder.weights(record.run_id).read_bytes(),
        "macs": [stage.train_macs for stage in record.budget.stages],
    }


@contextmanager
def plugins(folder: Path, **code: str) -> Iterator[dict[str, str]]:
    """An installed package with a method of each name in `code`, the source of a module that defines `M`; yields the
    environment in which it is installed."""
    info = folder / "strange-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1.0\n")
    lines = [f"{name} = strange_{name}:M" for name in code]
    (info / "entry_points.txt").write_text("\n".join(["[dynbench.methods]", *lines, ""]))
    for name, source in code.items():
        (folder / f"strange_{name}.py").write_text(source)
    yield {"PYTHONPATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))}


def images_right(results: Path) -> int:
    """Of all runs and points together."""
    folder = ResultsFolder(results)
    arrays = (folder.arrays(record.run_id) for record in folder.records())
    return sum(int(np.sum(array)) for one in arrays for name, array in one.items() if name.endswith("/correct"))
