"""What a node does with an order.

Trains and evaluates one run, in the driver's results folder where it can see that, else in a folder of its own from
which it sends everything back.

Declared choices: a node sees the results folder when the driver's token file is at the driver's path. A run that was
lost with its node continues from its last checkpoint in the first case, from its start in the second. While a lost
node's process still works on a run, the next one waits for it.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dynbench.context import Context
from dynbench.device import choose_device
from dynbench.errors import UserError
from dynbench.launch.isolated import train_isolated
from dynbench.launch.ray.messages import Fetch, Files, Message, NodeAnswer, Order, pack_files, unpack_files
from dynbench.observer import Observer
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.record.machine import commit
from dynbench.record.schema import EpochRecord, Record

STEP_SECONDS = 0.5
"""Steps are told no more often."""

Tell = Callable[[Message], None]


class Teller(Observer):
    """Sends what happens to one run; of the steps, enough for a display."""

    def __init__(self, run: Run, tell: Tell) -> None:
        self._run, self._tell = run, tell
        self._told = 0.0

    def run_placed(self, run: Run, node: str) -> None:
        self._send("run_placed", run, node)

    def stage_started(self, run: Run, stage: str, epochs: int, done: int, steps: int) -> None:
        self._send("stage_started", run, stage, epochs, done, steps)

    def steps_done(self, epoch: int, step: int, loss: float) -> None:
        now = time.monotonic()
        if now - self._told >= STEP_SECONDS:
            self._told = now
            self._send("steps_done_of", self._run, epoch, step, loss)

    def epoch_finished(self, run: Run, history: Sequence[EpochRecord]) -> None:
        self._send("epoch_finished", run, history)

    def _send(self, name: str, *arguments: object) -> None:
        self._tell(Message(self._run.run_id, name, arguments))


LOCK_SECONDS = 300
"""How long a run's predecessor on a node that was lost may hold its lock; servers of shared folders let go of a dead
machine's locks after a minute or two."""


def work(order: Order, fetch: Fetch, tell: Tell, node: str) -> NodeAnswer:
    """Make the run. Raises nothing that the user could fix: that is in the answer."""
    run_id = order.run.run_id
    try:
        _as_the_driver(order)
        with _results(order, fetch) as (results, shared):
            teller = Teller(order.run, tell)
            teller.run_placed(order.run, node)
            record = _made(order, results, teller)
            return NodeAnswer(run_id, record, None if shared else pack_files(results, _files_of(results, run_id)))
    except Timeout as error:
        return NodeAnswer(run_id, problem=f"on {node}: another process does not release {error.lock_file}")
    except (UserError, OSError) as error:
        return NodeAnswer(run_id, problem=f"on {node}: {error}")


def inputs(results: ResultsFolder, run_id: str) -> Files:
    """Return what has to be there for a run that starts from run `run_id`."""
    return pack_files(results, [results.record_path(run_id), results.weights(run_id)])


def _files_of(results: ResultsFolder, run_id: str) -> list[Path]:
    """All that is kept of a run but its record."""
    return [results.arrays_path(run_id), results.weights(run_id), results.output(run_id)]


def _as_the_driver(order: Order) -> None:
    """Raises UserError when the code here is another: the record would name the wrong commit."""
    os.environ.update(order.environment)
    if order.folder.is_dir():
        os.chdir(order.folder)
    here = commit()
    if here != order.commit:
        raise UserError(f"dynbench is at commit {here}, the driver's at {order.commit}: install the same")


@contextmanager
def _results(order: Order, fetch: Fetch) -> Iterator[tuple[ResultsFolder, bool]]:
    """(results folder to work in, whether it is the driver's), this run's alone meanwhile."""
    run_id = order.run.run_id
    if order.results.has_token(order.token):
        with _alone(order.results.node_lock(run_id)):
            yield order.results, True
        return
    folder = Path(tempfile.gettempdir()) / f"dynbench-{order.token}" / run_id
    with _alone(folder.parent / f"{run_id}.lock"):
        results = ResultsFolder(folder)
        unpack_files(results, fetch())
        yield results, False
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Whoever waited for the lock finds the run finished, so that its file can go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path, timeout=LOCK_SECONDS):
        yield
        path.unlink(missing_ok=True)


def _made(order: Order, results: ResultsFolder, teller: Teller) -> Record:
    """The run's record; one that was finished here before its node was lost is not made again."""
    run = order.run
    before = results.read(run.run_id)
    if before is not None and before.status == "finished" and results.weights(run.run_id).is_file():
        return before
    device = choose_device(order.device)
    context = Context(results, device, order.data_root, order.evaluation, teller, order.command, order.commit)
    return train_isolated(run, context, order.limits)
