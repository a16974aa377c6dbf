"""What was timed, together where it may be compared: the same data, backbone, machine, threads and engine."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dynbench.analysis.names import Names
from dynbench.analysis.summary import ConfigurationRecords
from dynbench.analysis.words import short_macs
from dynbench.plan.run import Run
from dynbench.record.schema import EngineRecord, Latency, PointRecord, Record, Timing, times_the_macs


@dataclass(frozen=True)
class Conditions:
    """What has to be the same for latencies to share a table."""

    dataset: str
    backbone: str
    width: float
    device: str
    threads: int
    precision: str
    engine: str
    torch: str

    @property
    def net(self) -> str:
        """`resnet20 on cifar10`."""
        width = "" if self.width == 1 else f" x{self.width:g}"
        return f"{self.backbone}{width} on {self.dataset}"

    @property
    def machine(self) -> str:
        """`AMD EPYC 9V74, 2 threads, fp32, pytorch eager 2.15.0`."""
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        return f"{self.device}, {threads}, {self.precision}, {self.engine} {self.torch}"


@dataclass(frozen=True)
class TimedPoint:
    """An operating point of one run that was timed."""

    run: Run
    point: PointRecord
    latency: Latency
    label: str
    """The method and its parameters, and the seed where that tells runs apart."""

    def at(self, batch: int) -> Timing | None:
        """Return the timing at a batch size, if there is one."""
        return next((timing for timing in self.latency.timings if timing.batch == batch), None)

    def promised(self, timing: Timing) -> float:
        """Dense MACs over the method's: the speed-up if every saved MAC were saved time."""
        return times_the_macs(self.latency.macs_dense, timing.macs_mean)


def speed_up(timing: Timing) -> float:
    """Dense time over the method's, both in eager PyTorch and timed in between."""
    return timing.dense_mean_ms / timing.mean_ms


@dataclass(frozen=True)
class Block:
    """Points that may be compared, and the engines of their dense backbone as they were timed last."""

    conditions: Conditions
    points: tuple[TimedPoint, ...]
    names: Names
    """What the runs are called beside each other."""
    simulated: tuple[str, ...]
    """Methods of the same backbone without an executor: they have no latency, and never a number."""

    @property
    def engines(self) -> tuple[EngineRecord, ...]:
        """Return the static engines' figures, those of the newest timing."""
        timed = [timed.latency for timed in self.points if timed.latency.engines]
        return max(timed, key=lambda latency: latency.measured).engines if timed else ()

    @property
    def absent(self) -> tuple[tuple[str, str], ...]:
        """The engines that could not be timed, and why."""
        return tuple((engine.name, engine.absent) for engine in self.engines if engine.absent)

    @property
    def batches(self) -> tuple[int, ...]:
        """Every batch size that was timed, rising."""
        return tuple(sorted({timing.batch for timed in self.points for timing in timed.latency.timings}))

    @property
    def ends(self) -> tuple[int, ...]:
        """The smallest and the largest of them."""
        return tuple(dict.fromkeys((self.batches[0], self.batches[-1]))) if self.batches else ()

    @property
    def macs_dense(self) -> str:
        """Return the dense backbone's MACs, in words."""
        return short_macs(self.points[0].latency.macs_dense)


def blocks(known: Sequence[ConfigurationRecords], records: Sequence[Record]) -> tuple[Block, ...]:
    """Return the timed points of `known`, in its order, in blocks; none when nothing was timed.

    What has no executor is named in the order of `records`.
    """
    ordered = [record for configuration in known for record in configuration.finished]
    chosen: defaultdict[Conditions, list[tuple[Record, PointRecord]]] = defaultdict(list)
    for conditions, record, point in _timed(ordered):
        chosen[conditions].append((record, point))
    names = Names.of(record.run for record in records)
    return tuple(_block(conditions, its, names, records) for conditions, its in chosen.items())


def _timed(records: Sequence[Record]) -> Iterator[tuple[Conditions, Record, PointRecord]]:
    for record in records:
        for point in record.points:
            if point.latency:
                yield conditions_of(record.run, point.latency), record, point


def conditions_of(run: Run, latency: Latency) -> Conditions:
    """Return what has to be the same for this latency of a run to be compared with another."""
    return Conditions(
        dataset=run.data.name,
        backbone=run.backbone.name,
        width=run.backbone.width,
        device=latency.machine.device_name,
        threads=latency.threads,
        precision=latency.precision,
        engine=latency.engine,
        torch=latency.machine.versions.get("torch", "").partition("+")[0],
    )


def _block(
    conditions: Conditions, chosen: Sequence[tuple[Record, PointRecord]], names: Names, records: Sequence[Record]
) -> Block:
    several = len({record.run.seed for record, _ in chosen}) > 1

    def label(run: Run) -> str:
        return f"{names.whole(run)} seed={run.seed}" if several else names.whole(run)

    points = (TimedPoint(r.run, p, p.latency, label(r.run)) for r, p in chosen if p.latency)
    return Block(conditions, tuple(points), names, tuple(_simulated(conditions, names, records)))


def _simulated(conditions: Conditions, names: Names, records: Sequence[Record]) -> Iterator[str]:
    for record in records:
        run = record.run
        if (run.data.name, run.backbone.name) == (conditions.dataset, conditions.backbone):
            yield from (f"{names.whole(run)}, {p.name}" for p in record.points if not p.audit_images and not p.latency)
