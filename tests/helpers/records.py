"""Small records for tests, made without training anything."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dynbench.analysis.analysis import Analysis
from dynbench.analysis.literature import Quoted
from dynbench.latency.figures import with_engines
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.record.machine import Machine
from dynbench.record.schema import (
    Budget,
    EngineRecord,
    EngineTiming,
    Latency,
    LayerMacs,
    Macs,
    PointRecord,
    Record,
    StageBudget,
    Timing,
)
from dynbench.suite.recipe import Recipe, Sgd
from dynbench.suite.schema import BackboneSpec, DataSpec

IMAGES = 400
AUDITED = 16
GATE = 1_000_000
"""MACs of what opens the layers, whole."""
MODES = ("sequential", "parallel_cancel", "parallel")

MACHINE = Machine(
    device="cpu",
    device_name="a CPU",
    cpu="a CPU",
    cores=2,
    threads=2,
    memory_bytes=2**33,
    system="Linux",
    python="3.11.0",
    versions={"dynbench": "0.1.0", "torch": "2.11.0"},
    cuda=None,
    precision="fp32",
)


@dataclass(frozen=True)
class Fake:
    """A run to make up. `top1` in per cent and `mmacs` per image of each operating point, `spread` the standard
    deviation of MACs over images as a fraction of their mean."""

    method: str = "dense"
    given: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    points: tuple[str, ...] = ("default",)
    top1: float = 90.0
    mmacs: tuple[float, ...] = (40.0,)
    spread: float = 0.0
    dense_mmacs: float = 40.0
    dataset: str = "cifar10"
    backbone: str = "resnet20"
    error: str | None = None
    audited: bool = False
    speeds: tuple[float, ...] = ()
    """Times as fast as dense, one for each point, at every batch size; empty: not timed."""
    engines: tuple[EngineRecord, ...] = ()
    threads: int = 2
    epochs: int = 16
    static: bool | None = None
    layers: tuple[tuple[str, int], ...] = ()
    """Name and whole MACs."""
    version: int = 1
    """Of the method."""
    lr: float = 0.1
    finished: float = 100.0
    images: int = IMAGES
    """Of the test split."""


def make_run(fake: Fake) -> Run:
    width = float(fake.given.get("width", 1.0))
    return Run(
        suite="made-up",
        data=DataSpec(name=fake.dataset),
        backbone=BackboneSpec(name=fake.backbone),
        built=BackboneSpec(name=fake.backbone, width=width),
        recipe=Recipe(epochs=16, optimizer=Sgd(name="sgd", lr=fake.lr)),
        seed=fake.seed,
        method=fake.method,
        method_version=fake.version,
        params=fake.given,
        given=fake.given,
    )


def make_record(fake: Fake) -> tuple[Record, dict[str, np.ndarray]]:
    """The record and its per-image arrays. The same `fake` gives the same."""
    run = make_run(fake)
    rng = np.random.default_rng([fake.seed, *run.run_id.encode()])
    correct = np.arange(fake.images) < round(fake.images * fake.top1 / 100)
    rng.shuffle(correct)
    noise = rng.normal(0, fake.spread, fake.images).clip(-0.9, 0.9)
    points: list[PointRecord] = []
    arrays: dict[str, np.ndarray] = {}
    for index, (name, mean) in enumerate(zip(fake.points, fake.mmacs, strict=True)):
        macs = (1e6 * mean * (1 + noise)).astype(np.int64)
        point = _point(name, correct, macs, fake)
        points.append(point.model_copy(update={"latency": _latency(fake, index)}))
        arrays |= {f"{name}/correct": correct, f"{name}/correct5": np.ones(fake.images, bool), f"{name}/macs": macs}
    failed = fake.error is not None
    record = Record(
        run_id=run.run_id,
        status="failed" if failed else "finished",
        run=run,
        error=fake.error,
        macs_dense=int(1e6 * fake.dense_mmacs),
        budget=Budget(
            stages=() if failed else (_stage(fake.epochs),),
            pretrained=(_stage(10),) if fake.given.get("init") == "dense" and not failed else (),
        ),
        points=() if failed else tuple(points),
        plugin="dynbench 0.1.0",
        static=fake.static,
        machine=MACHINE,
        commit="0" * 40,
        command="dynbench run made-up.yaml",
        started=0.0,
        finished=fake.finished,
    )
    return record, {} if failed else arrays


def _stage(epochs: int) -> StageBudget:
    # Larger than 2^53: a float could not hold it.
    return StageBudget(name="train", epochs=epochs, images=45000 * epochs, train_macs=10**16 + epochs, seconds=61.5)


def _point(name: str, correct: np.ndarray, macs: np.ndarray, fake: Fake) -> PointRecord:
    mean = float(macs.mean())
    gates = 0.0 if fake.method == "dense" else 0.01 * mean
    return PointRecord(
        name=name,
        val_top1=min(100.0, 100 * float(correct.mean()) + 1 / 3),
        test_top1=100 * float(correct.mean()),
        test_top5=100.0,
        val_macs=mean,
        macs=Macs(
            mean=mean,
            p50=float(np.percentile(macs, 50)),
            p95=float(np.percentile(macs, 95)),
            max=int(macs.max()),
            backbone=mean - gates,
            shortcuts=0.0,
            gates=gates,
        ),
        layers=_layers(fake, mean, gates),
        audited=fake.audited,
        audit_images=AUDITED if fake.audited else 0,
    )


def _layers(fake: Fake, mean: float, gates: float) -> tuple[LayerMacs, ...]:
    """Each spends the same part of what it costs whole; gates the rest."""
    whole = sum(macs for _, macs in fake.layers)
    part = (mean - gates) / whole if whole else 0.0
    layers = [LayerMacs(name=name, kind="backbone", macs=macs, mean=part * macs) for name, macs in fake.layers]
    gate = LayerMacs(name="gate", kind="control", macs=GATE, mean=gates)
    return (*layers, gate) if gates and layers else tuple(layers)


def _latency(fake: Fake, index: int) -> Latency | None:
    if not fake.speeds:
        return None
    latency = Latency(
        engine="pytorch eager",
        precision="fp32",
        threads=fake.threads,
        macs_dense=int(1e6 * fake.dense_mmacs),
        timings=tuple(_timing(fake, index, batch) for batch in (1, 8, 32)),
        machine=MACHINE,
        command="dynbench time",
        measured=0.0,
    )
    return with_engines(latency, fake.engines)


def _timing(fake: Fake, index: int, batch: int) -> Timing:
    dense, saved = 4.0 * batch, fake.dense_mmacs / fake.mmacs[index]
    mean = dense / fake.speeds[index]
    return Timing(
        batch=batch,
        calls=4,
        rounds=2,
        mean_ms=mean,
        p50_ms=mean,
        p90_ms=1.1 * mean,
        p99_ms=1.2 * mean,
        dense_mean_ms=dense,
        dense_p50_ms=dense,
        throughput_ips=1000 * batch / mean,
        macs_mean=1e6 * fake.mmacs[index],
        realised=fake.speeds[index] / saved,
    )


def make_engine(
    name: str, of_eager: float, batches: Sequence[int] = (1, 32), absent: str | None = None
) -> EngineRecord:
    """The dense backbone on an engine; eager PyTorch takes 4 ms an image."""
    timings = tuple(
        EngineTiming(
            batch=batch,
            calls=4,
            rounds=2,
            mean_ms=4 * batch * of_eager,
            p50_ms=4 * batch * of_eager,
            p90_ms=4 * batch * of_eager,
            p99_ms=4 * batch * of_eager,
            throughput_ips=250 / of_eager,
            of_eager=of_eager,
        )
        for batch in batches
    )
    return EngineRecord(name=name, version="1.0", absent=absent, timings=timings)


def write_fakes(results: Path, fakes: Sequence[Fake]) -> tuple[Record, ...]:
    """Write the records and arrays of `fakes` into a results folder."""
    made = [make_record(fake) for fake in fakes]
    for record, arrays in made:
        ResultsFolder(results).write_record(record, arrays)
    return tuple(record for record, _ in made)


def analysed(records: Sequence[Record], literature: Sequence[Quoted] | None = None) -> Analysis:
    """Of records that lie nowhere; nothing that needs their arrays can be asked for."""
    return Analysis.of(ResultsFolder(Path("nowhere")), records, literature)


def small_suite(seeds: Sequence[int] = (0,)) -> list[Fake]:
    """Controls of three widths, dynamic nets in three cost modes, and one failure, on CIFAR-10."""
    fakes = []
    for seed in seeds:
        shift = 0.4 * seed
        fakes += [
            Fake(seed=seed, top1=91.5 + shift),
            Fake(given={"width": 0.7}, seed=seed, top1=90.25 - shift, mmacs=(20.0,)),
            Fake(given={"width": 0.5}, seed=seed, top1=88.5 + shift, mmacs=(10.4,)),
            _gated("lc_net", {"l1_layer": 0.01, "l1_channel": 0.5}, seed, 89.75 + shift, (9.0, 15.0, 19.5)),
            _gated("lc_net", {"l1_layer": 0.01, "l1_channel": 0.2}, seed, 90.75 - shift, (15.0, 22.0, 25.0)),
            _gated("c_net", {"l1_channel": 0.5}, seed, 90.0 + shift, (14.0, 24.0, 24.0)),
            _gated("l_net", {"l1_layer": 0.03}, seed, 90.5 + shift, (29.0, 29.0, 33.0)),
        ]
    return [*fakes, Fake("l_net", {"l1_layer": 9.0}, error="TrainingDiverged: the loss is nan in epoch 3")]


def _gated(method: str, given: dict[str, Any], seed: int, top1: float, mmacs: tuple[float, ...]) -> Fake:
    return Fake(method, given, seed, MODES, top1, mmacs, spread=0.06)
