"""A results folder: the one module that knows where in it records, arrays, weights, checkpoints and locks lie.

RESULTS/records/RUN_ID.json, .npz, .latency.npz     what is committed: records, and their arrays
RESULTS/report.html, table.md, plots/               made from them
RESULTS/work/RUN_ID/                                weights, checkpoint, lock, output, state of tracking; not committed
RESULTS/work/token, mlflow.db                       of the folder as a whole
"""

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from dynbench.errors import UserError
from dynbench.files import read_bounded, write_atomically
from dynbench.plan.run import Run
from dynbench.record.arrays_file import load_arrays, save_arrays
from dynbench.record.reading import Stamp, stamp_of, uncollected
from dynbench.record.schema import Record
from dynbench.record.store import check_arrays, encode_record, read_record
from dynbench.record.validity import is_component, needed_arrays

DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"
"""Where tracking goes unless it is told otherwise."""
LARGEST_TOKEN = 2**10
"""Bytes."""


class RunTaken(Exception):  # noqa: N818  (named for what happened)
    """Another process holds the run's lock: it makes, times or sends it just now."""


class _Read(NamedTuple):
    stamp: Stamp
    record: Record


@dataclass(frozen=True)
class ResultsFolder:
    """Where the results of a suite, or of several, lie under `path`; nothing has to be there yet.

    A record is read once and again only when its file has changed: other processes write into the same folder. Methods
    that read raise UserError for what is damaged or not valid, those that write for what cannot be written. Somebody
    may have sent the folder: those that say where something lies raise UserError for an id that is not a file's name,
    and for a link that leads out of the folder.
    """

    path: Path
    _known: dict[str, _Read] = field(default_factory=dict, init=False, repr=False, compare=False)
    _checked: dict[str, tuple[Stamp | None, Stamp | None]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def of_record(cls, file: Path) -> "ResultsFolder":
        """Return the folder that the record `file` lies in."""
        return cls(file.absolute().parent.parent)

    def __str__(self) -> str:
        return str(self.path)

    def __reduce__(self) -> "tuple[type[ResultsFolder], tuple[Path]]":
        """Goes to other processes without what was read."""
        return ResultsFolder, (self.path,)

    def _at(self, folder: str, name: str = "", suffix: str = "", file: str = "") -> Path:
        """`folder`/`name``suffix`/`file` in here. Raises UserError as the class says."""
        path = self._inside(self.path / folder)
        if name:
            if not is_component(name):
                raise UserError(f"{name!a} is not a run's id, nor the name of a file in {self}")
            path = self._inside(path / f"{name}{suffix}")
        return self._inside(path / file) if file else path

    def _inside(self, path: Path) -> Path:
        """`path`, one level below what is known to be inside."""
        if os.path.islink(path) and not path.resolve().is_relative_to(self.path.resolve()):  # noqa: PTH114  (for speed)
            raise UserError(f"{path} is a link to {path.resolve()}, out of the results folder; it is not followed")
        return path

    # Records and their arrays

    def record_path(self, run_id: str) -> Path:
        """Return where a run's record is."""
        return self._at("records", run_id, ".json")

    def arrays_path(self, run_id: str) -> Path:
        """Return where a run's per-image arrays are."""
        return self._at("records", run_id, ".npz")

    def latency_arrays_path(self, run_id: str) -> Path:
        """Return where raw latency samples are.

        `POINT/BATCH/ms`, `POINT/BATCH/dense_ms` and, of static engines, `engines/NAME/BATCH/ms`; in milliseconds,
        float64 (rounds, calls).
        """
        return self._at("records", run_id, ".latency.npz")

    def read(self, run_id: str) -> Record | None:
        """Return the record of a run, as it is now; None when there is none."""
        path = self.record_path(run_id)
        stamp = stamp_of(path)
        if stamp is None:
            return None
        known = self._known.get(run_id)
        if known is None or known.stamp != stamp:
            known = self._known[run_id] = _Read(stamp, read_record(path))
        return known.record

    def records(self) -> tuple[Record, ...]:
        """Return every record, in the order of their files.

        Raises UserError when there is none, or the arrays of one are not what it says that they are.
        """
        folder = self._at("records")
        names = [path.stem for path in sorted(folder.glob("*.json"))]
        found = self._found(names)
        if not found:
            raise UserError(f"no records in {folder}; `dynbench run SUITE --results {self}` makes them")
        for record in found:
            if record.status == "finished":
                self._check_arrays_of(record)
        return found

    def records_of(self, runs: Sequence[Run]) -> tuple[Record, ...]:
        """Return the records of those of the runs that have one, in their order."""
        return self._found([run.run_id for run in runs])

    def _found(self, run_ids: Sequence[str]) -> tuple[Record, ...]:
        with uncollected():
            return tuple(record for run_id in run_ids if (record := self.read(run_id)) is not None)

    def is_finished(self, run_id: str) -> bool:
        """Say whether the run has a record that says so."""
        record = self.read(run_id)
        return record is not None and record.status == "finished"

    def unfinished(self, runs: Sequence[Run]) -> list[Run]:
        """Return the runs that have to be done.

        Those without a finished record, and those whose record is there but whose weights, which such a run starts
        from, are not.
        """
        ids = [run.run_id for run in runs]
        with uncollected():
            without = {run_id for run_id in ids if not self.is_finished(run_id)}
        awaited = {run.needs() for run, run_id in zip(runs, ids, strict=True) if run_id in without}
        missing = {run_id for run_id in awaited.intersection(ids) if run_id and not self.weights(run_id).is_file()}
        return [run for run, run_id in zip(runs, ids, strict=True) if run_id in without or run_id in missing]

    def is_unfinished(self, run: Run, runs: Sequence[Run]) -> bool:
        """Say whether the run has to be done: for itself, or for one of `runs` that starts from it."""
        run_id = run.run_id
        return run in self.unfinished([run, *(one for one in runs if one.needs() == run_id)])

    def arrays(self, run_id: str, *names: str) -> dict[str, np.ndarray]:
        """Return the per-image arrays of a run.

        `POINT/correct`, `POINT/correct5` (bool), `POINT/macs` (int64), over the test split in its own order; and, not
        in older files, `POINT/audit_logits` (float32) of audited validation images, whose numbers are in
        `POINT/audit_numbers`, `POINT/val_answers` and `POINT/val_macs` (int64) over the validation split, and what
        `record.usage_arrays` reads. Given `names`, only those that are there. Raises UserError when they are missing or
        damaged, or are not what the run's record says that they are.
        """
        record = self.read(run_id)
        if record is None:
            raise UserError(f"the per-image arrays of {run_id} have no record in {self}")
        self._check_arrays_of(record)
        return load_arrays(self.arrays_path(run_id), *names)

    def _check_arrays_of(self, record: Record) -> None:
        """Hold a record's arrays against it, once, and again only when either file has changed."""
        path = self.arrays_path(record.run_id)
        stamps = stamp_of(self.record_path(record.run_id)), stamp_of(path)
        if self._checked.get(record.run_id) != stamps:
            check_arrays(record, load_arrays(path, *needed_arrays(record)), path)
            self._checked[record.run_id] = stamps

    def write_record(self, record: Record, arrays: Mapping[str, np.ndarray] | None = None) -> None:
        """Write the per-image arrays, then the record: a record that is there has its arrays."""
        if arrays:
            save_arrays(self.arrays_path(record.run_id), arrays)
        write_atomically(self.record_path(record.run_id), encode_record(record))

    def write_latency_arrays(self, run_id: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Write the raw samples of a run's latency, in place of older ones."""
        save_arrays(self.latency_arrays_path(run_id), arrays)

    # What a run needs while it is made, and leaves

    def work(self, run_id: str) -> Path:
        """Return the folder of a run's checkpoints, weights and tracking state."""
        return self._at("work", run_id)

    def weights(self, run_id: str) -> Path:
        """Return where a run's trained weights are."""
        return self._at("work", run_id, file="model.safetensors")

    def checkpoint(self, run_id: str) -> Path:
        """Return where a run's checkpoint is."""
        return self._at("work", run_id, file="checkpoint.pt")

    def stage_weights(self, run_id: str, stage: int) -> Path:
        """Return where the weights at the end of stage number `stage` are, while later ones are trained."""
        return self._at("work", run_id, file=f"stage{stage}.safetensors")

    def output(self, run_id: str, rank: int = 0) -> Path:
        """Return where that lies which a run's plugin printed, in one of the processes that made it."""
        return self._at("work", run_id, file=f"output-{rank}.log" if rank else "output.log")

    def tracking_state(self, name: str) -> Path:
        """Return where it is noted what was sent of run `name`, from an interruption to the next start."""
        return self._at("work", name, file="tracked.json")

    def clean_up(self, run_id: str) -> None:
        """Delete what a finished run needs no more: all but its weights. A killed write leaves a hidden file."""
        work = self.work(run_id)
        for path in (self.checkpoint(run_id), *work.glob("stage*.safetensors"), *work.glob(".*.*")):
            path.unlink(missing_ok=True)

    @contextmanager
    def lock(self, run_id: str) -> Iterator[None]:
        """Hold the run's lock: whoever has it makes, times or sends the run.

        Raises RunTaken when another process has it, and UserError when the run's work folder cannot be written to, now
        or in what is done under the lock.
        """
        folder, lock = self.work(run_id), self._at("work", run_id, file="lock")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(lock, timeout=0):
                yield
        except Timeout as error:
            raise RunTaken(run_id) from error
        except OSError as error:
            raise UserError(f"cannot write to {folder}: {error.strerror or error}") from error

    def node_lock(self, run_id: str) -> Path:
        """Return the lock of whoever makes the run on a cluster's node: its lock proper is the driver's."""
        return self._at("work", run_id, file="node.lock")

    # The folder as a whole

    @property
    def table(self) -> Path:
        """Return where the Markdown report is."""
        return self.path / "table.md"

    @property
    def page(self) -> Path:
        return self.path / "report.html"

    @property
    def plots(self) -> Path:
        """Return the folder of the plots."""
        return self._at("plots")

    def plot_files(self) -> tuple[Path, ...]:
        """Return the plots, in the order of their names. Raises UserError for what is a link out of here."""
        found = sorted(self.plots.glob("*.*"))
        return tuple(path for path in map(self._inside, found) if path.is_file())

    @property
    def database(self) -> Path:
        """Where tracking goes unless it is told otherwise; what belongs to it lies beside it.

        Raises UserError when any of that is a link out of here.
        """
        for path in (*self.path.glob(f"{DATABASE}*"), self.path / ARTIFACTS):
            self._inside(path)
        return self.path / DATABASE

    def token(self) -> str:
        """Return a text that is this folder's alone; made the first time. Who reads the same shares the folder."""
        if not self._token.is_file():
            write_atomically(self._token, uuid.uuid4().hex.encode())
        return self._read_token()

    def has_token(self, token: str) -> bool:
        """Say whether this is the folder with that token: it may be another one at the same path."""
        try:
            return self._read_token() == token
        except UserError:
            return False

    def _read_token(self) -> str:
        return read_bounded(self._token, "token", LARGEST_TOKEN).decode(errors="replace")

    @property
    def _token(self) -> Path:
        return self._at("work", "token")

    def check_writable(self) -> None:
        """Make the folder. Raises UserError when nothing can be written here."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(f"cannot write to the results folder {self}: {error.strerror or error}") from error
