"""Times one run, in a process that does nothing else.

It is a forked one, or `python -m dynbench.latency.timing_process REQUEST FOLDER`.

Allocator, caches and thread pools of a process that has trained are not those of one that serves.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dynbench.build import data_for
from dynbench.cost import measuring
from dynbench.data import load_data
from dynbench.device import fp32_is_fp32
from dynbench.errors import AuditFailed
from dynbench.evaluation.trained import Trained
from dynbench.executors import kernels_of
from dynbench.guards.model_changes import kept
from dynbench.guards.side_effects import unwatched, watched
from dynbench.guards.switches import GlobalSwitches
from dynbench.guards.tampering import seal, verify
from dynbench.kernels.cpu import operators as native
from dynbench.latency.answers import KeptAnswers, check_answers
from dynbench.latency.checks import Timed, check_timed_executor, evaluated
from dynbench.latency.dense_apart import (
    ATTEMPTS,
    SLOWER,
    Beside,
    DenseApart,
    DenseNet,
    dense_apart,
    times_slower,
)
from dynbench.latency.figures import Samples, realised
from dynbench.latency.loop import batches_of, by_pass
from dynbench.latency.request import TimingAnswer, TimingRequest, write_answer
from dynbench.record.folder import ResultsFolder
from dynbench.record.machine import describe_machine
from dynbench.record.schema import Latency, Record, Timing
from dynbench.suite.schema import LatencyProtocol

SEED = 0


def _main(request_path: str, folder: str) -> None:
    request = TimingRequest.model_validate_json(Path(request_path).read_bytes())
    write_answer(Path(folder), *answer_alone(request))


def answer_alone(request: TimingRequest) -> tuple[TimingAnswer, dict[str, np.ndarray]]:
    """Answer as `answer` does, in a process of its own, in which nothing has happened before.

    It sets the protocol's number of threads, which stays, and has the dense net of another process beside it.
    """
    threads = request.protocol.threads
    # What a fork has of CUDA is of no use.
    with dense_apart(request.device, threads, "fork" if request.device == "cpu" else "spawn") as apart:
        if threads is not None:
            torch.set_num_threads(threads)
        return answer(request, apart)


def answer(request: TimingRequest, apart: DenseApart | None = None) -> tuple[TimingAnswer, dict[str, np.ndarray]]:
    """Return what `time_run` gives, or why it is refused."""
    fp32_is_fp32()
    seal()
    try:
        return time_run(request, apart)
    except AuditFailed as error:
        return TimingAnswer(points={}, refused=str(error)), {}


def time_run(request: TimingRequest, apart: DenseApart | None) -> tuple[TimingAnswer, dict[str, np.ndarray]]:
    """Time every operating point with an executor against the dense backbone; also returns the raw samples.

    Raises AuditFailed when what was timed is not what was evaluated, and when the dense backbone is slower here than in
    the process of `apart`.
    """
    results = ResultsFolder(request.results)
    record = results.read(request.run_id)
    assert record is not None
    run = record.run
    device = torch.device(request.device)
    data = load_data(run.data.model_copy(update={"root": request.data_root}))
    native.available()  # may compile the kernels, which takes processes: not the plugin's
    with watched("while it was restored"):
        trained = Trained.restored(run, results.weights(run.run_id), data, device)
        data = data_for(trained.method, data)
    images = trained.normalise(data.validation.images[: request.protocol.images].to(device))
    dense = _Dense(DenseNet(run.backbone, data.shape, data.num_classes), device, apart)
    raw: dict[str, np.ndarray] = {}
    points = {}
    with watched("while it was timed"), kept(trained.model, "while it was timed"):
        for point in trained.points:
            executor = trained.executor(point)
            if executor is not None:
                timed = Timed(trained, executor, point, images)
                points[point.name] = _latency(request, record, timed, dense, raw)
                check_timed_executor(timed, request.protocol.batches, evaluated(results, run.run_id, point, data))
    verify("after timing")
    return TimingAnswer(points=points), raw


class _Dense:
    """The dense backbone, here and apart."""

    def __init__(self, net: DenseNet, device: torch.device, apart: DenseApart | None) -> None:
        self.net, self.here, self.apart = net, net.made(device), apart


@dataclass(frozen=True)
class _Taken:
    """What was timed at one batch size: the dense backbone, the executor, and the dense backbone apart."""

    dense: Samples
    own: Samples
    apart: Samples | None

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        found = {f"{name}/ms": self.own.ms, f"{name}/dense_ms": self.dense.ms}
        return found if self.apart is None else found | {f"{name}/dense_apart_ms": self.apart.ms}


def _latency(
    request: TimingRequest, record: Record, timed: Timed, dense: _Dense, raw: dict[str, np.ndarray]
) -> Latency:
    timings = _timings(request.protocol, timed, dense, raw, record.macs_dense)
    engine, threads = kernels_of(timed.executor), torch.get_num_threads()
    with unwatched():  # describing the machine takes processes
        machine = describe_machine(request.device, "fp32")
    return Latency(
        engine=engine,
        precision="fp32",
        threads=threads,
        macs_dense=record.macs_dense,
        timings=tuple(timings),
        machine=machine,
        command=request.command,
        measured=time.time(),
    )


def _timings(
    protocol: LatencyProtocol, timed: Timed, dense: _Dense, raw: dict[str, np.ndarray], macs_dense: int
) -> Iterator[Timing]:
    """One timing for each batch size that the images fill; raw samples go into `raw`."""
    macs = timed.macs([timed.images])
    for size in protocol.batches:
        batches = batches_of(timed.images, size)
        if not batches:
            continue
        taken = _agreed(timed, dense, batches, protocol.rounds)
        raw |= taken.arrays(f"{timed.point.name}/{size}")
        yield _timing(size, taken, float(macs[: size * len(batches)].mean()), macs_dense)


def _agreed(timed: Timed, dense: _Dense, batches: list[Tensor], rounds: int) -> _Taken:
    """Time it, and again where the dense backbone is slower here than apart: a machine has moods.

    Raises AuditFailed when it is always so.
    """
    size, times = len(batches[0]), 0.0
    where = f'point "{timed.point.name}", batch size {size}'
    for _ in range(ATTEMPTS):
        own_calls = KeptAnswers(timed.executor)
        beside = Beside(
            dense.apart, dense.net, size, len(batches), partial(GlobalSwitches().check, "while it was timed")
        )
        with measuring(timed.trained.model):
            reference, own = by_pass((dense.here, own_calls), batches, rounds, SEED, beside)
        check_answers(timed, own_calls, batches)
        times = times_slower(reference, beside.samples)
        if times <= SLOWER:
            return _Taken(reference, own, beside.samples)
    raise AuditFailed(
        f"{where}: the dense net takes {times:.2f} times as long beside the plugin as in a process that never "
        "imported it; the plugin slows what it is compared with"
    )


def _timing(size: int, taken: _Taken, macs: float, macs_dense: int) -> Timing:
    own, dense = taken.own, taken.dense
    return Timing(
        batch=size,
        calls=own.ms.shape[1],
        rounds=own.ms.shape[0],
        mean_ms=own.mean,
        p50_ms=own.percentile(50),
        p90_ms=own.percentile(90),
        p99_ms=own.percentile(99),
        dense_mean_ms=dense.mean,
        dense_p50_ms=dense.percentile(50),
        dense_apart_p50_ms=None if taken.apart is None else taken.apart.percentile(50),
        throughput_ips=1000 * size / own.mean,
        macs_mean=macs,
        realised=realised(dense, own, macs_dense, macs),
    )


if __name__ == "__main__":
    _main(*sys.argv[1:])
