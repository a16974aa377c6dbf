"""Ratios of two times taken in turns in one process, and data of noise for them."""

import statistics
import time
from collections.abc import Callable

import torch
from pytest_benchmark.fixture import BenchmarkFixture

from dynbench.data.split import Data, Split, TestSplit

SHAPE = (3, 32, 32)
PAIRS = 25


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ratios(work: Callable[[], object], reference: Callable[[], object], pairs: int = PAIRS) -> list[float]:
    """Time of `work` over that of `reference`, pair by pair; every other pair starts with the reference."""
    work(), reference()
    found = []
    for pair in range(pairs):
        first, second = (work, reference) if pair % 2 else (reference, work)
        one, other = seconds(first), seconds(second)
        found.append(one / other if pair % 2 else other / one)
    return found


def report(
    benchmark: BenchmarkFixture, work: Callable[[], object], reference: Callable[[], object], pairs: int = PAIRS
) -> float:
    """The median ratio, which goes into the benchmark's `extra_info` with its quartiles."""
    found: list[float] = benchmark.pedantic(ratios, args=(work, reference, pairs), rounds=1, iterations=1)
    low, median, high = statistics.quantiles(found, n=4)
    benchmark.extra_info.update(ratio=round(median, 4), quartiles=[round(low, 4), round(high, 4)], pairs=len(found))
    print(f"\nratio {median:.4f} (quartiles {low:.4f} to {high:.4f}, {len(found)} pairs)")
    return median


def images(count: int) -> Split:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, *SHAPE), generator=generator, dtype=torch.uint8)
    return Split(pixels, torch.randint(0, 10, (count,), generator=generator))


def make_data(train: Split) -> Data:
    return Data(train, train, TestSplit(lambda: train), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 10, augment=True)
