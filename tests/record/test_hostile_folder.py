"""A results folder that somebody sent: nothing outside it is written, read or sent to, whatever it holds."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynbench.backbones.weights import save_weights
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Record, Tracked
from dynbench.record.store import encode_record
from dynbench.tracking.location import find_location
from dynbench.tracking.plots import plot_files
from dynbench.tracking.store import Store
from tests.conftest import Call
from tests.helpers.records import Fake, make_record, write_fakes

FAKES = [
    Fake(audited=True),
    Fake("lc_net", {"l1_layer": 0.1}, 0, ("whole",), 89.0, (20.0,), 0.1, audited=True),
]
COMMANDS: dict[str, tuple[object, ...]] = {
    "report": (),
    "table": (),
    "export": (),
    "export weights": ("--weights", "released"),
    "sync": (),
    "time": (),
    "baseline": ("-o", "made.json"),
}


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What may not be touched; the folder that is sent lies beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "outside"
    (folder / "plots").mkdir(parents=True)
    for name in ("secret.png", "secret.json", "secret.safetensors", "plots/secret.png"):
        (folder / name).write_bytes(b"secret")
    return folder


@pytest.fixture
def sent(tmp_path: Path) -> ResultsFolder:
    results = ResultsFolder(tmp_path / "sent")
    for record in write_fakes(results.path, FAKES):
        save_weights(torch.nn.Linear(2, 2), results.weights(record.run_id))
    return results


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file, when it was written, and what it holds."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def records(sent: ResultsFolder) -> tuple[Record, ...]:
    return tuple(make_record(fake)[0] for fake in FAKES)


def renamed(sent: ResultsFolder, run_id: str) -> None:
    record = records(sent)[1]
    sent.record_path(record.run_id).write_bytes(encode_record(record.model_copy(update={"run_id": run_id})))


def method_named(sent: ResultsFolder, method: str) -> None:
    """The id follows from the run, but leads out."""
    record = records(sent)[1]
    run = record.run.model_copy(update={"method": method})
    renamed = record.model_copy(update={"run": run, "run_id": run.run_id})
    sent.record_path(record.run_id).write_bytes(encode_record(renamed))


def suite_named(sent: ResultsFolder, suite: str) -> None:
    for record in records(sent):
        run = record.run.model_copy(update={"suite": suite})
        sent.record_path(record.run_id).write_bytes(encode_record(record.model_copy(update={"run": run})))


def linked(name: str, to: str) -> Callable[[ResultsFolder, Path], None]:
    """Something in the folder is a link to something outside."""

    def change(sent: ResultsFolder, outside: Path) -> None:
        path = sent.path / name.format(id=records(sent)[1].run_id)
        if path.is_dir():
            path.rename(outside.parent / "moved")
        else:
            path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(outside / to)

    return change


def piped(name: str) -> Callable[[ResultsFolder, Path], None]:
    def change(sent: ResultsFolder, outside: Path) -> None:
        path = sent.path / name.format(id=records(sent)[1].run_id)
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)

    return change


HOSTILE: dict[str, Callable[[ResultsFolder, Path], Any]] = {
    "id that climbs": lambda sent, outside: renamed(sent, "../../outside/x"),
    "absolute id": lambda sent, outside: renamed(sent, str(outside / "x")),
    "method that climbs": lambda sent, outside: method_named(sent, "../../outside/x"),
    "method that is absolute": lambda sent, outside: method_named(sent, str(outside / "x")),
    "suite that climbs": lambda sent, outside: suite_named(sent, "x/../../../outside/x"),
    "plots elsewhere": linked("plots", "plots"),
    "a plot from elsewhere": linked("plots/a.png", "secret.png"),
    "records elsewhere": linked("records", "."),
    "a record from elsewhere": linked("records/{id}.json", "secret.json"),
    "arrays from elsewhere": linked("records/{id}.npz", "secret.json"),
    "work elsewhere": linked("work", "plots"),
    "a run's work elsewhere": linked("work/{id}", "plots"),
    "weights from elsewhere": linked("work/{id}/model.safetensors", "secret.safetensors"),
    "a lock elsewhere": linked("work/{id}/lock", "secret.json"),
    "a database elsewhere": linked("mlflow.db", "secret.json"),
    "a database's lock elsewhere": linked("mlflow.db.lock", "secret.json"),
    "artifacts elsewhere": linked("mlartifacts", "plots"),
    "a record that is a pipe": piped("records/x.json"),
    "arrays that are a pipe": piped("records/{id}.npz"),
    "weights that are a pipe": piped("work/{id}/model.safetensors"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_command_leaves_the_folder(
    call: Call, sent: ResultsFolder, outside: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # MLflow's tables take seconds to make; what it writes itself is tried below.
    syncing = sys.modules["dynbench.tracking.sync"]
    monkeypatch.setattr(syncing, "_send", lambda *_: None)
    monkeypatch.setattr(syncing, "_store", lambda *_: None)
    monkeypatch.setattr(syncing, "send_plots", lambda results, *_: plot_files(results))
    monkeypatch.setattr("dynbench.latency.timer.Timer.time", lambda _, record: record)
    HOSTILE[name](sent, outside)
    before = snapshot(outside)
    for command, options in COMMANDS.items():
        done = call(command.split()[0], sent, *options)
        assert done.exit_code in {0, 2}, done.output
        if done.exit_code:
            assert done.stderr.count("\n") == 1, done.stderr
        for path in outside.parent.glob("released/*"):
            assert b"secret" not in path.read_bytes()
    assert snapshot(outside) == before
    assert {path.name for path in outside.parent.iterdir()} <= {"outside", "sent", "moved", "released", "made.json"}


def test_sync_sends_nowhere_but_where_the_user_said(call: Call, sent: ResultsFolder, outside: Path) -> None:
    for uri in ("http://127.0.0.1:9", "postgresql://host/db", "sqlite:////etc/x.db", "sqlite:///../outside/x.db"):
        for record in records(sent):
            tracked = Tracked(uri=uri, run_id="x")
            sent.record_path(record.run_id).write_bytes(encode_record(record.model_copy(update={"tracked": tracked})))
        before = snapshot(outside)
        refused = call("sync", sent)
        assert refused.exit_code == 2
        assert f"--tracking-uri {find_location(sent, None, uri).stored}`" in refused.stderr
        assert snapshot(outside) == before


def test_a_database_that_keeps_its_files_elsewhere_is_refused(
    call: Call, sent: ResultsFolder, outside: Path, tmp_path: Path
) -> None:
    place = find_location(sent, None)
    Store(place)._client.create_experiment("made-up", artifact_location=(outside / "plots").as_uri())
    before = snapshot(outside)
    refused = call("sync", sent)
    assert refused.exit_code == 2
    assert "outside the results folder" in refused.stderr
    assert snapshot(outside) == before


@pytest.mark.parametrize("name", ['it\'s "said"', "50% of %20", "what?is=it#here", "a;b&c\\d", "<b> [b]"])
def test_whatever_the_path_is_tracking_works_in_it(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / name / "results"
    write_fakes(folder, FAKES[:1])
    assert call("sync", folder).stdout == "sent 1, already there 0\n"
    assert call("sync", folder).stdout == "sent 0, already there 1\n"
    assert list(folder.glob("mlartifacts/*/artifacts/record.json"))
    assert (folder / "mlflow.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_weights_with_other_keys_are_one_line(call: Call, sent: ResultsFolder, outside: Path) -> None:
    """Of every kind of method: those that take shapes from weights ask for keys that are not there."""
    run = records(sent)[1].run
    for method in ("filter_pruning", "lc_net", "blockdrop"):
        made = method_of(run, method)
        record, arrays = make_record(FAKES[1])
        record = record.model_copy(update={"run": made, "run_id": made.run_id})
        sent.write_record(record, arrays)
        save_weights(torch.nn.Linear(2, 2), sent.weights(record.run_id))
        refused = call("verify", sent.record_path(record.run_id))
        assert refused.exit_code == 2, refused.output
        assert "do not fit" in refused.stderr
        assert refused.stderr.count("\n") == 1


def method_of(run: Run, method: str) -> Run:
    small = {"name": "resnet8"}
    update = {
        "method": method,
        "params": {},
        "given": {},
        "data": {"name": "digits"},
        "backbone": small,
        "built": small,
    }
    return Run.model_validate(run.model_dump() | update)


def test_numbers_of_records_are_numbers(sent: ResultsFolder) -> None:
    """The arrays of a sound folder are read as they were written."""
    for record, arrays in map(make_record, FAKES):
        found = sent.arrays(record.run_id)
        assert all(np.array_equal(found[name], array) for name, array in arrays.items())
