"""Whatever the tracking server does, a run is held up for its seconds at the most, and nothing is lost."""

import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from dynbench.record.folder import ResultsFolder
from dynbench.tracking import Tracker
from dynbench.tracking import tracker as tracking
from dynbench.tracking.database import make_database, repair_database
from tests.helpers.bad_servers import ILL, bad_server
from tests.helpers.command import SMALL, dynbench, is_told
from tests.tracking.test_tracking import make_record, make_run, track

KINDS = ("dead", *ILL)
BY_COMMAND = KINDS if "DYNBENCH_KILLS" in os.environ else ("byte by byte",)
"""Of the others the events of a run are enough by default: a command takes as long as all of them."""
SECONDS = 2.0


@pytest.mark.parametrize("kind", KINDS)
def test_an_ill_server_costs_its_seconds_once(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(tracking, "BRIEF_SECONDS", 0.0)
    results = ResultsFolder(tmp_path / "results")
    with bad_server(kind) as server:
        tracker = Tracker(results, server.uri, SECONDS)
        first = track(tracker, make_record(0))
        after = len(server.asked)
        second = track(tracker, make_record(1))
        assert tracker.is_quiet
        assert len(server.asked) == after, "asked again within minutes of a wait in vain"
    assert not first.tracked.complete
    assert not second.tracked.complete
    assert tracker.problem is not None
    assert tracker.problem.startswith(f"MLflow at {server.uri}: ")
    assert f"dynbench sync {results}" in tracker.problem
    assert "\n" not in tracker.problem


def test_all_that_a_run_waits_is_its_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it may be asked again: what is spent is spent."""
    monkeypatch.setattr(tracking, "QUIET_SECONDS", 0.0)
    with bad_server("byte by byte") as server:
        tracker = Tracker(ResultsFolder(tmp_path), server.uri, SECONDS)
        tracker.run_started(make_run())
        asked = len(server.asked)
        started = time.monotonic()
        tracker.run_finished(make_record())
        assert time.monotonic() - started < SECONDS
        assert len(server.asked) == asked


@pytest.mark.parametrize("kind", BY_COMMAND)
def test_a_suite_with_an_ill_server(kind: str, tmp_path: Path) -> None:
    suite, results = tmp_path / "small.yaml", tmp_path / "results"
    suite.write_text(SMALL.replace("epochs: 2", "epochs: 1"))
    with bad_server(kind) as server:
        ended = dynbench(
            "run", suite, "--results", results, "--tracking-uri", server.uri, "--set", "tracking.seconds=5"
        )
    assert ended.code == 0, ended.err
    assert is_told(ended)
    (line,) = {line for line in ended.errors if "sync" in line}
    assert f"MLflow at {server.uri}" in line
    assert [record.status for record in ResultsFolder(results).records()] == ["finished", "finished"]


def test_a_stuck_process_that_holds_the_lock_is_not_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    with FileLock(f"{file}.lock"):
        tracker = Tracker(ResultsFolder(tmp_path), None)
        record = track(tracker, make_record())
    assert tracker.problem is None
    assert record.tracked.complete


def test_two_that_make_one_database_have_one(tmp_path: Path) -> None:
    """The one that comes later leaves the first one's: it may hold runs."""
    file, both = tmp_path / "mlflow.db", threading.Barrier(2)

    def make(uri: str) -> None:
        both.wait()
        with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
            database.execute("CREATE TABLE runs (id INTEGER)")
            database.execute(f"CREATE TABLE made_by_{threading.get_ident()} (id INTEGER)")

    threads = [threading.Thread(target=make_database, args=(file, make)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with sqlite3.connect(file) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        assert len(tables) == 2
        database.execute("INSERT INTO runs VALUES (1)")
    assert not repair_database(file, make), "a database with a run is left alone"
    assert {path.name for path in tmp_path.iterdir()} <= {"mlflow.db", "mlflow.db.lock"}
