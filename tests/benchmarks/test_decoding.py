"""Images a second from JPEG files: decoding alone, the pipeline, and a bare DataLoader with torchvision's reference
transforms, taken in turns in one process.

Run with `pytest --benchmark-only -s tests/benchmarks/test_decoding.py`. On JPEGs made here, of ImageNet's average size;
DYNBENCH_IMAGES names a folder of others. Per core means: by the CPU time of the process and its children, which other
work on the machine does not change much; wall clock is shown beside it and asserted nowhere.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from dynbench.data.augment import Normalise
from dynbench.data.decoders import Decoders
from dynbench.data.image_files import ImageFiles
from dynbench.data.imagenet import MEAN, STD

IMAGES, BATCH, ROUNDS = 128, 32, 5
WORKERS = 2
SIZE = (500, 375)
TARGET = 1.5
REFERENCE = transforms.Compose(
    [
        transforms.RandomResizedCrop(224),
        transforms.RandomHorizontalFlip(),
        transforms.PILToTensor(),
        transforms.ConvertImageDtype(torch.float),
        transforms.Normalize(MEAN, STD),
    ]
)


@dataclass(frozen=True)
class Taken:
    """Seconds for each image."""

    cpu: float
    wall: float


def cpu_seconds() -> float:
    """Of this process and of those of its children that have ended."""
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


def taken(work: Callable[[], object], images: int) -> Taken:
    wall, cpu = time.perf_counter(), cpu_seconds()
    work()
    return Taken((cpu_seconds() - cpu) / images, (time.perf_counter() - wall) / images)


def in_turns(works: dict[str, Callable[[], object]], images: int) -> dict[str, list[Taken]]:
    found: dict[str, list[Taken]] = {name: [] for name in works}
    for work in works.values():
        work()
    for turn in range(ROUNDS):
        names = list(works) if turn % 2 else list(works)[::-1]
        for name in names:
            found[name].append(taken(works[name], images))
    return found


class Files(Dataset[Tensor]):
    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with self.paths[index].open("rb") as file:  # as torchvision's pil_loader
            return REFERENCE(Image.open(file).convert("RGB"))


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    given = os.environ.get("DYNBENCH_IMAGES")
    if given:
        return sorted(Path(given).rglob("*.JPEG"))[:IMAGES]
    folder, generator = tmp_path_factory.mktemp("jpegs"), np.random.default_rng(0)
    for index in range(IMAGES):
        coarse = generator.integers(0, 256, (SIZE[1] // 5, SIZE[0] // 5, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC).save(folder / f"{index}.JPEG", quality=90)
    return sorted(folder.iterdir())


def decode(paths: list[Path]) -> None:
    for path in paths:
        with Image.open(path) as image:
            image.load()


def consume(batches: Iterator[Tensor]) -> None:
    for _ in batches:
        pass


def test_the_pipeline_against_torchvisions_reference(paths: list[Path], benchmark: BenchmarkFixture) -> None:
    torch.set_num_threads(1)
    root, names = Path("/"), [str(path) for path in paths]
    images = {threads: ImageFiles(Decoders((root, names), 224, threads)) for threads in (1, WORKERS)}
    normalise = Normalise(MEAN, STD, torch.device("cpu"), channels_last=True)
    numbers = torch.split(torch.arange(len(paths)), BATCH)
    files = Files(paths)
    works: dict[str, Callable[[], object]] = {
        "decode": lambda: decode(paths),
        "pipeline, 1 thread": lambda: consume(map(normalise, images[1].stream(numbers, 0))),
        f"pipeline, {WORKERS} threads": lambda: consume(map(normalise, images[WORKERS].stream(numbers, 0))),
        "reference, no workers": lambda: consume(iter(DataLoader(files, BATCH))),
        f"reference, {WORKERS} workers": lambda: consume(iter(DataLoader(files, BATCH, num_workers=WORKERS))),
    }
    found = benchmark.pedantic(in_turns, args=(works, len(paths)), rounds=1, iterations=1)
    for name, rounds in found.items():
        cpu, wall = (1 / statistics.median(getattr(one, kind) for one in rounds) for kind in ("cpu", "wall"))
        benchmark.extra_info[name] = {"per CPU second": round(cpu), "per second": round(wall)}
        print(f"\n{name:<24}{cpu:7.0f} images per CPU second, {wall:7.0f} per second of wall clock", end="")
    pairs = zip(found["pipeline, 1 thread"], found["reference, no workers"], strict=True)
    ratio = statistics.median(reference.cpu / mine.cpu for mine, reference in pairs)
    benchmark.extra_info["ratio"] = round(ratio, 3)
    print(f"\nimages per CPU second, pipeline over reference: {ratio:.2f}")
    assert ratio >= TARGET
