"""What passes between the driver, which plans and keeps the records, and the nodes, which train."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dynbench.errors import UserError
from dynbench.files import write_atomically
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Record
from dynbench.suite.schema import Evaluation, Limits

Files = dict[str, bytes]
"""Contents by path, relative to a results folder."""


@dataclass(frozen=True)
class Order:
    """One run to be made. Paths are absolute, the driver's."""

    run: Run
    results: ResultsFolder
    token: str
    """That of the results folder: a node that reads the same there shares the folder."""
    data_root: Path | None
    evaluation: Evaluation
    limits: Limits
    device: str
    """`cpu`, or `cuda`: the GPU that the node gives."""
    command: str
    commit: str
    folder: Path
    """The driver's working directory, where relative paths in methods' parameters start."""
    environment: dict[str, str]


@dataclass(frozen=True)
class Message:
    """An event of a run, as `Observer` names it."""

    run_id: str
    name: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class NodeAnswer:
    """How an order ended.

    With a record, finished or failed, and those files of the run that the driver cannot see; or with a `problem` that
    the user has to fix.
    """

    run_id: str
    record: Record | None = None
    files: Files | None = None
    problem: str | None = None


def pack_files(results: ResultsFolder, paths: list[Path]) -> Files:
    """Return those of the files that are there."""
    return {path.relative_to(results.path).as_posix(): path.read_bytes() for path in paths if path.is_file()}


def unpack_files(results: ResultsFolder, files: Files) -> None:
    """Write the packed files. Raises UserError when they cannot be written."""
    for name, content in files.items():
        path = results.path / name
        if not path.resolve().is_relative_to(results.path.resolve()):
            raise UserError(f"a node sent back {name}, which is outside the results folder {results}")
        write_atomically(path, content)


Fetch = Callable[[], Files]
"""Brings the record and the weights that the run starts from; empty when it starts from none."""


class Pool(Protocol):
    """Nodes that make runs."""

    def slots(self) -> int:
        """Return how many runs can be under way at once, just now."""

    def submit(self, order: Order, fetch: Fetch) -> None:
        """Have the order carried out, again elsewhere when its node is lost."""

    def messages(self) -> list[Message]:
        """Return the events since the last call, each run's in their order."""

    def wait(self, seconds: float) -> list[NodeAnswer]:
        """Return the orders that have ended; returns as soon as there is one."""
