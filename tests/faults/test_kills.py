"""A run that is killed, at any moment and as often as one likes, ends with the numbers of one that was not."""

import sqlite3
import time
from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import pytest

from dynbench.record.folder import ResultsFolder
from tests.helpers.command import SMALL, Command, dynbench, many, moments, outcome

KILLS = many("DYNBENCH_KILLS", 2)
"""Of each kind."""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("suite") / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="module")
def whole(suite: Path) -> tuple[Path, float]:
    """Results of a run that nobody disturbed, and the seconds that it took."""
    results = suite.parent / "whole"
    ended = dynbench("run", suite, "--results", results)
    assert ended.code == 0, ended.err
    return results, ended.seconds


def finished(suite: Path, results: Path, whole: Path, *options: str) -> None:
    """Finish what was killed, and compare it with the whole: nothing differs, and MLflow has all."""
    ended = dynbench("run", suite, "--results", results, *options)
    assert (ended.code, ended.err) == (0, ""), (ended.out, ended.err)
    assert outcome(results) == outcome(whole)
    assert all(record.tracked is not None and record.tracked.complete for record in ResultsFolder(results).records())


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["alone", "workers"])
def test_killed_at_any_moment(
    suite: Path, whole: tuple[Path, float], tmp_path: Path, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    reference, seconds = whole
    chosen, results = moments(len(options)), tmp_path / "results"
    kills = completed = 0
    wanted = KILLS if not options else max(1, KILLS // 10)
    while kills < wanted:
        with Command("run", suite, "--results", results, *options) as command:
            if command.killed_after(chosen.uniform(0.05, 1) * seconds):
                kills += 1
                continue
        finished(suite, results, reference, *options)
        rmtree(results)
        completed += 1
    finished(suite, results, reference, *options)
    with capsys.disabled():
        print(f"\n{kills} kills {' '.join(options)}: {completed + 1} suites finished, all numbers equal")


def test_killed_while_the_database_is_made(
    suite: Path,
    whole: tuple[Path, float],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    chosen, kills, wanted = moments(7), 0, max(1, KILLS // 5)
    for number in range(3 * wanted):  # one that was too fast to be killed is tried again
        if kills == wanted:
            break
        results = tmp_path / f"results{number}"
        temporary = Path(mkdtemp(dir="/tmp"))  # short: a socket in it has a path of 107 bytes at most
        request.addfinalizer(partial(rmtree, temporary, ignore_errors=True))
        with Command("run", suite, "--results", results, TMPDIR=str(temporary)) as command:
            while command.process.poll() is None and not list(temporary.glob("*/fresh.db")):
                time.sleep(0.02)
            kills += command.killed_after(chosen.uniform(0, 2))
        assert not (results / "mlflow.db").exists() or (results / "mlflow.db").stat().st_size > 100_000
        finished(suite, results, whole[0])
    with capsys.disabled():
        print(f"\n{kills} kills while the database was made: all suites finished, all numbers equal")
    assert kills


def test_a_database_that_was_left_half_made(suite: Path, whole: tuple[Path, float], tmp_path: Path) -> None:
    """As an older dynbench left it: MLflow says `table jobs already exists` for ever."""
    results = tmp_path / "results"
    results.mkdir()
    with sqlite3.connect(results / "mlflow.db") as database:
        database.execute("CREATE TABLE jobs (id INTEGER)")
    finished(suite, results, whole[0])
