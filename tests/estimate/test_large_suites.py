"""A results folder with a thousand finished runs: each record is read once, however often its state is asked for."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from dynbench.cli.options import read_suite
from dynbench.context import Context
from dynbench.latency.timer import Timer
from dynbench.launch.sequential import SequentialLauncher, SuiteRunner
from dynbench.observer import Observer
from dynbench.plan.expand import expand_suite
from dynbench.plan.run import Run
from dynbench.record import folder
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Record
from dynbench.suite.schema import Evaluation
from tests.conftest import Call
from tests.helpers.records import Fake, make_record

SEEDS = 100
RUNS = 10 * SEEDS
SUITE = """\
name: large
data: digits
backbones: [{name: resnet8, width: 0.25}]
recipe: {epochs: 1, batch_size: 128}
limits: {runs: 2000}
seeds: [SEEDS]
methods:
  - {name: dense, params: {width: [0.5, 0.6, 0.7, 1.0]}}
  - {name: lc_net, params: {l1_layer: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}}
tracking: none
latency: none
"""


def suite_of(where: Path, seeds: int) -> Path:
    path = where / "large.yaml"
    path.write_text(SUITE.replace("SEEDS", ", ".join(map(str, range(seeds)))))
    return path


def record_of(run: Run) -> Record:
    made, _ = make_record(Fake(layers=(("conv1", 40_000_000),)))
    return made.model_copy(update={"run": run, "run_id": run.run_id})


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results folder of the large suite, all of whose runs are finished; not to be written to."""
    where = tmp_path_factory.mktemp("large")
    results = ResultsFolder(where / "results")
    for run in expand_suite(read_suite(suite_of(where, SEEDS))):
        path = results.record_path(run.run_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(record_of(run).model_dump_json())
    return results.path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each record's file was read."""
    found: Counter[str] = Counter()
    read = folder.read_record

    def counted(path: Path) -> Record:
        found[path.stem] += 1
        return read(path)

    monkeypatch.setattr(folder, "read_record", counted)
    return found


def test_the_plan_reads_each_record_once_and_estimates_nothing(
    large: Path, tmp_path: Path, call: Call, reads: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dynbench.estimate.estimates.call", lambda *_, **__: pytest.fail("a child process"))
    shown = call("plan", suite_of(tmp_path, SEEDS), "--results", large)
    assert shown.exit_code == 0, shown.output
    assert sum(line.endswith("finished") for line in shown.stdout.splitlines()) == RUNS
    assert len(reads) == RUNS
    assert set(reads.values()) == {1}


def test_work_starts_after_each_record_was_read_once(
    large: Path, tmp_path: Path, call: Call, reads: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def launch(self: SequentialLauncher, runs: tuple[Run, ...], *_: object) -> list[str]:
        assert len(runs) == RUNS + 10
        raise KeyboardInterrupt

    monkeypatch.setattr(SequentialLauncher, "launch", launch)
    started = call("run", suite_of(tmp_path, SEEDS + 1), "--results", large)
    assert started.exit_code == 130, started.output
    assert f"large: {RUNS + 10} runs, {RUNS} finished; about " in started.stdout
    assert len(reads) == RUNS
    assert set(reads.values()) == {1}


def test_each_run_that_is_made_costs_no_reading_of_the_others(large: Path, tmp_path: Path, reads: Counter[str]) -> None:
    runs = expand_suite(read_suite(suite_of(tmp_path, SEEDS + 1)))
    new = [run for run in runs if run.seed == SEEDS]
    results = ResultsFolder(large)

    def execute(run: Run, context: Context, timer: Timer | None) -> Record:
        record = record_of(run)
        context.results.write_record(record)
        return record

    context = Context(results, torch.device("cpu"), None, Evaluation(), Observer(), "a test", "unknown")
    try:
        records = SuiteRunner(runs, context, execute=execute).run()
    finally:
        for run in new:
            results.record_path(run.run_id).unlink(missing_ok=True)
    assert len(records) == len(runs)
    assert len(reads) == len(runs)
    assert set(reads.values()) == {1}
