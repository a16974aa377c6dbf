"""Results folders for the page's tests: one as people have them, one whose names are hostile, a large one."""

from dataclasses import replace
from pathlib import Path

from dynbench.analysis.analysis import Analysis
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import EpochRecord, Record
from dynbench.report.page.page import html_page
from tests.helpers.records import Fake, make_engine, make_record, small_suite

HOSTILE = "</script><script>window.stolen=1</script><img src=x onerror=window.stolen=1>'\"&\u202egpj.exe"
SHOWN = HOSTILE.replace("\u202e", "[U+202E]")
"""How a page has to show it."""


def write_page(folder: Path, fakes: list[Fake], changes: dict[str, object] | None = None) -> Path:
    """Write records of `fakes`, each with three epochs and `changes`, and their page; return the page's file."""
    results = ResultsFolder(folder)
    for fake in fakes:
        record, arrays = make_record(fake)
        results.write_record(record.model_copy(update={"history": _history(record), **(changes or {})}), arrays)
    results.page.write_text(html_page(Analysis.of(results)))
    return results.page


def _history(record: Record) -> tuple[EpochRecord, ...]:
    if record.status == "failed":
        return ()
    return tuple(
        EpochRecord(stage="train", epoch=epoch, time=0, seconds=1, loss=2 / (1 + epoch), lr=0.1, val_top1=60 + epoch)
        for epoch in range(3)
    )


def usual() -> list[Fake]:
    """Three seeds of a small suite, one of them timed, with a static engine; and what failed."""
    engines = (make_engine("pytorch eager", 1.0), make_engine("onnxruntime", 0.5))
    timed = {"audited": True, "engines": engines}
    return [
        replace(fake, speeds=(1.5,) * len(fake.points), **timed) if fake.seed == 0 and not fake.error else fake
        for fake in small_suite(seeds=(0, 1, 2))
    ]


def hostile() -> list[Fake]:
    """Names as nobody should give them, wherever a plugin or a suite may: a method's own is part of a file's name."""
    return [
        Fake(),
        Fake("gated", {HOSTILE: HOSTILE}, mmacs=(20.0,), spread=0.1, speeds=(2.0,)),
        Fake("failing", {"x": 1}, error=HOSTILE),
    ]


def many(configurations: int) -> list[Fake]:
    """Dense nets and gated ones of many widths and penalties."""
    return [_one_of_many(number, configurations) for number in range(configurations)]


def _one_of_many(number: int, configurations: int) -> Fake:
    top1 = 70 + number % 190 / 10
    if number % 10:
        mmacs = (9.0, 12.0 + number % 25)
        return Fake("lc_net", {"l1_layer": number / 1e4}, points=("a", "b"), top1=top1, mmacs=mmacs, spread=0.05)
    return Fake(given={"width": 0.3 + number / configurations}, top1=top1, mmacs=(10.0 + number % 29,))
