"""Times finished runs on this machine, each in a process of its own; trains nothing.

That process is forked from one that has imported PyTorch and done nothing else: allocator, caches and thread pools are
a fresh process's, without the seconds that importing takes. `tox -e bench` prints that its figures are the same.

The static engines of the dense backbone are timed once for each backbone, in one more process with eager PyTorch
beside them: their thread pools spin for a while after every call and would slow down a method that is timed in turn
with them, and compiling takes longer than everything else. What is carried over is a ratio, engine to eager PyTorch.
"""

import tempfile
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from pydantic import BaseModel

from dynbench.errors import AuditFailed, UserError
from dynbench.isolate.call import call_in_child
from dynbench.isolate.child import Ask
from dynbench.isolate.limits import ChildEnded
from dynbench.isolate.module import run_module
from dynbench.latency.figures import with_engines
from dynbench.latency.request import ANSWER, SAMPLES, EnginesAnswer, EnginesRequest, TimingAnswer, TimingRequest
from dynbench.record.folder import ResultsFolder, RunTaken
from dynbench.record.schema import EngineRecord, Record
from dynbench.suite.schema import DEFAULT_LIMITS, LatencyProtocol, Limits

TIMING = "dynbench.latency.timing_process"
"""Answers what a run takes."""

A = TypeVar("A", bound=BaseModel)
Arrays = dict[str, np.ndarray]


class _Engines(NamedTuple):
    records: tuple[EngineRecord, ...]
    raw: Arrays


class Asks(Protocol):
    """Has something timed: what `module` answers to `request`, and the raw samples. Raises UserError."""

    def __call__(
        self, module: str, request: BaseModel, kind: type[A], doing: str, limits: Limits, /
    ) -> tuple[A, Arrays]: ...


class Timer:
    """Times runs of one results folder by one protocol. Remembers what the engines took, for as long as it lives."""

    def __init__(
        self,
        results: ResultsFolder,
        protocol: LatencyProtocol,
        device: str,
        data_root: Path | None,
        command: str,
        limits: Limits = DEFAULT_LIMITS,
        ask: Asks | None = None,
    ) -> None:
        """`limits`: of each process that times something. `ask`: in place of these processes."""
        self._results, self._protocol, self._device = results, protocol, device
        self._data_root, self._command, self._limits = data_root, command, limits
        self._ask = ask or ask_process
        self._engines: dict[tuple[BaseModel, BaseModel], _Engines] = {}

    def time(self, record: Record) -> Record:
        """Return the record with its latencies; their raw samples are written, the record is not.

        The caller holds the run's lock. Raises UserError when timing fails, AuditFailed when what was timed is not what
        was evaluated.
        """
        request = TimingRequest(
            results=self._results.path,
            run_id=record.run_id,
            data_root=self._data_root,
            device=self._device,
            protocol=self._protocol,
            command=self._command,
        )
        doing = f"timing {record.run_id}"
        answer, raw = self._ask(TIMING, request, TimingAnswer, doing, self._limits)
        if answer.refused is not None:
            raise AuditFailed(f"while it was timed: {answer.refused}")
        if not answer.points:  # no executor: nothing to compare with engines either
            return _with_latency(record, answer, ())
        engines = self._engines_of(record)
        self._results.write_latency_arrays(record.run_id, raw | engines.raw)
        return _with_latency(record, answer, engines.records)

    def _engines_of(self, record: Record) -> _Engines:
        """The engines on the record's dense backbone, timed now or earlier."""
        if not self._protocol.engines:
            return _Engines((), {})
        data = record.run.data.model_copy(update={"root": self._data_root})
        key = (record.run.backbone, data)
        if key not in self._engines:
            request = EnginesRequest(
                backbone=record.run.backbone, data=data, device=self._device, protocol=self._protocol
            )
            self._engines[key] = self._time_engines(request)
        return self._engines[key]

    def _time_engines(self, request: EnginesRequest) -> _Engines:
        """An engine can take its whole process down; they are then all absent, and the method's own times stand."""
        module, doing = "dynbench.latency.engines.time_engines", "timing static engines"
        try:
            answer, raw = self._ask(module, request, EnginesAnswer, doing, self._limits)
        except UserError as error:
            absent = [EngineRecord(name=name, version="", absent=str(error)) for name in request.protocol.engines]
            return _Engines(tuple(absent), {})
        return _Engines(answer.engines, raw)


def time_record(record: Record, results: ResultsFolder, timer: Timer) -> Record:
    """Time one finished run and write its record again.

    Raises UserError when its weights are not there, when another process works on it, or when timing fails or is
    refused.
    """
    if not results.weights(record.run_id).is_file():
        raise UserError(
            f"{record.run_id} has no trained weights in {results.work(record.run_id)}; "
            "records that were copied here without them cannot be timed: run the suite again"
        )
    try:
        with results.lock(record.run_id):
            timed = timer.time(record)
            results.write_record(timed)
            return timed
    except AuditFailed as error:
        raise UserError(f"{record.run_id} is not timed: {error}") from error
    except RunTaken as error:
        raise UserError(f"{record.run_id} is being run by another process; time it when that is done") from error


def ask_process(module: str, request: BaseModel, kind: type[A], doing: str, limits: Limits) -> tuple[A, Arrays]:
    """Have `module` answer in a process of its own: its answer and raw samples.

    Engines have a fresh one, for compilers have not been tried in a forked one. Raises UserError that says why it
    failed.
    """
    ask = ask_forked_process if module == TIMING else ask_fresh_process
    return ask(module, request, kind, doing, limits)


def ask_forked_process(module: str, request: BaseModel, kind: type[A], doing: str, limits: Limits) -> tuple[A, Arrays]:
    """Have `module` answer in a forked process. Raises UserError that says why it failed."""
    try:
        found, raw = call_in_child(_answer, module, request, limits=limits, needs=module)
    except (ChildEnded, UserError) as error:
        raise UserError(f"{doing} failed: {error}") from error
    assert isinstance(found, kind)
    return found, raw


def _answer(_: Ask, module: str, request: BaseModel) -> tuple[BaseModel, Arrays]:
    """In the child."""
    answer: tuple[BaseModel, Arrays] = import_module(module).answer_alone(request)
    return answer


def ask_fresh_process(module: str, request: BaseModel, kind: type[A], doing: str, limits: Limits) -> tuple[A, Arrays]:
    """Run `module` in a fresh process; its answer and raw samples. Raises UserError that says why it failed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        question = folder / "request.json"
        question.write_text(request.model_dump_json())
        try:
            run_module(module, str(question), str(folder), limits=limits)
        except ChildEnded as error:
            raise UserError(f"{doing} failed: {error}") from error
        with np.load(folder / SAMPLES) as raw:
            return kind.model_validate_json((folder / ANSWER).read_bytes()), dict(raw)


def _with_latency(record: Record, answer: TimingAnswer, engines: tuple[EngineRecord, ...]) -> Record:
    latencies = {name: with_engines(latency, engines) for name, latency in answer.points.items()}
    points = tuple(point.model_copy(update={"latency": latencies.get(point.name)}) for point in record.points)
    return record.model_copy(update={"points": points})
