"""Tracking against a real SQLite file and a real `mlflow server` on loopback; nothing is trained."""

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from filelock import FileLock

from dynbench.cli import cli, main
from dynbench.errors import UserError
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.record.machine import Machine
from dynbench.record.schema import Budget, EpochRecord, Macs, PointRecord, Record, StageBudget, Tracked
from dynbench.suite.recipe import Recipe
from dynbench.suite.schema import BackboneSpec, DataSpec
from dynbench.tracking import Tracker, log_plots, send_rest, sync
from dynbench.tracking.location import find_location, read_state
from dynbench.tracking.payload import epoch_values, result_values, run_parameters
from dynbench.tracking.store import Store
from tests.helpers.records import Fake
from tests.helpers.records import make_record as make_fake

DOWN = "http://127.0.0.1:9"
"""The discard port: nothing listens there."""

MACHINE = Machine(
    device="cpu",
    device_name="A CPU",
    cpu="A CPU",
    cores=2,
    threads=2,
    memory_bytes=1,
    system="Linux",
    python="3.11",
    versions={"torch": "2.11"},
    cuda=None,
    precision="fp32",
)


def make_run(seed: int = 0) -> Run:
    return Run(
        suite="little",
        data=DataSpec(name="digits"),
        backbone=BackboneSpec(name="resnet8"),
        built=BackboneSpec(name="resnet8", width=0.5),
        recipe=Recipe(epochs=3),
        seed=seed,
        method="lc_net",
        method_version=1,
        params={"l1_layer": 0.1, "gate": {"hidden": 16}, "start": None},
        given={"l1_layer": 0.1},
    )


def make_history(epochs: int) -> tuple[EpochRecord, ...]:
    return tuple(
        EpochRecord(
            stage="train",
            epoch=index,
            time=1e9 + index,
            seconds=1.5,
            loss=2.0 - index / 10,
            lr=0.1,
            val_top1=50.0 + index if index % 2 == 0 else None,
            val_macs=1e6 if index % 2 == 0 else None,
        )
        for index in range(epochs)
    )


def make_point(name: str, top1: float) -> PointRecord:
    macs = Macs(mean=5e5, p50=5e5, p95=6e5, max=700_000, backbone=4e5, shortcuts=5e4, gates=5e4)
    return PointRecord(name=name, val_top1=top1, test_top1=top1 - 1, test_top5=99.0, val_macs=5e5, macs=macs, layers=())


def make_record(seed: int = 0, epochs: int = 3, status: str = "finished") -> Record:
    run = make_run(seed)
    finished = status == "finished"
    stage = StageBudget(name="train", epochs=epochs, images=100, train_macs=300, seconds=4.5)
    return Record(
        run_id=run.run_id,
        status=status,
        run=run,
        error=None if finished else "ValueError: no",
        macs_dense=1_000_000,
        budget=Budget(stages=(stage,) if finished else ()),
        history=make_history(epochs) if finished else (),
        points=(make_point("whole", 60.0), make_point("l1=0.5", 55.0)) if finished else (),
        plugin="dynbench 0.1.0",
        machine=MACHINE,
        commit="0123abc",
        command="dynbench run suites/little.yaml",
        started=1e9 - 1,
        finished=1e9 + 10,
    )


def make_arrays(record: Record) -> dict[str, np.ndarray]:
    """Of 100 images, which give the figures of `make_point`."""
    macs = np.repeat([390_000, 500_000, 600_000, 700_000], [10, 80, 9, 1])
    return {
        f"{point.name}/{name}": array
        for point in record.points
        for name, array in (
            ("correct", np.arange(100) < round(point.test_top1)),
            ("correct5", np.arange(100) < 99),
            ("macs", macs),
        )
    }


def write(results: Path, record: Record) -> None:
    ResultsFolder(results).write_record(record, make_arrays(record))


def track(tracker: Tracker, record: Record, epochs: int = 3) -> Record:
    """The events of a whole run."""
    tracker.run_started(record.run)
    for count in range(1, epochs + 1):
        tracker.epoch_finished(record.run, make_history(count))
    return tracker.run_finished(record)


def client(uri: str):
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri)


def sqlite_uri(results: Path) -> str:
    return f"sqlite:///{results / 'mlflow.db'}"


def server_runs(uri: str, suite: str = "little") -> list:
    """The MLflow runs of the suite's records."""
    connection = client(uri)
    experiment = connection.get_experiment_by_name(suite)
    runs = connection.search_runs([experiment.experiment_id]) if experiment else []
    return [run for run in runs if run.data.tags["dynbench.kind"] == "run"]


def losses(uri: str, run_id: str) -> list[tuple[int, int, float]]:
    history = client(uri).get_metric_history(run_id, "loss")
    return sorted((metric.step, metric.timestamp, metric.value) for metric in history)


def expected_losses(epochs: int) -> list[tuple[int, int, float]]:
    return [(index, 1_000_000_000_000 + 1000 * index, 2.0 - index / 10) for index in range(epochs)]


@pytest.fixture(autouse=True)
def _no_tracking_uri(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def results(tmp_path) -> Path:
    return tmp_path / "a b"  # paths may have spaces


@pytest.fixture(scope="module")
def new_database(tmp_path_factory) -> Path:
    """A SQLite file with MLflow's tables in it: they take seconds to create."""
    folder = tmp_path_factory.mktemp("database")
    Store(find_location(ResultsFolder(folder), None))
    return folder / "mlflow.db"


@pytest.fixture
def database(results, new_database) -> None:
    results.mkdir()
    shutil.copy(new_database, results)


class Server:
    """`mlflow server` with one worker in a process group of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        options = {
            "--host": "127.0.0.1",
            "--port": str(self._port),
            "--workers": "1",
            "--backend-store-uri": f"sqlite:///{self._folder}/server.db",
            "--artifacts-destination": f"{self._folder}/artifacts",
        }
        off = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *chain.from_iterable(options.items())],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | off,
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 900
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.3)
        pytest.fail(f"no mlflow server: {(self._folder / 'log').read_text()[-2000:]}")

    def kill(self) -> None:
        """As in a crash: nothing gets to finish."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


def test_values_of_epochs_from_the_first_unsent():
    values = list(epoch_values(make_history(3), 1))
    assert {value.step for value in values} == {1, 2}
    assert [value.key for value in values if value.step == 1] == ["loss", "lr", "seconds"]
    validated = [value.key for value in values if value.step == 2]
    assert validated == ["loss", "lr", "val_top1", "val_macs", "seconds"]


def test_values_of_points_are_told_apart():
    values = {value.key: value.value for value in result_values(make_record())}
    assert values["test_top1"] == 59.0
    assert values["l1_0.5/test_top1"] == 54.0
    macs = ("mean", "p50", "p95", "max", "backbone", "shortcuts", "gates")
    assert {f"macs_{kind}" for kind in macs} <= set(values)


def test_values_of_a_point_that_was_timed():
    (record, _) = make_fake(Fake(speeds=(2.0,)))
    values = {value.key: value.value for value in result_values(record)}
    assert (values["latency_ms_p50"], values["dense_latency_ms_p50"], values["realised"]) == (2.0, 4.0, 2.0)
    assert "realised_best" not in values


def test_parameters_are_flat():
    texts = dict(run_parameters(make_run()))
    assert texts["method"] == "lc_net"
    assert texts["method.gate.hidden"] == "16"
    assert texts["recipe.optimizer.lr"] == "0.1"
    assert (texts["backbone"], texts["width"], texts["dataset"]) == ("resnet8", "0.5", "digits")
    assert (texts["seed"], texts["epochs"], texts["run_id"]) == ("0", "3", make_run().run_id)
    assert "method.start" not in texts


def test_place_by_precedence(tmp_path, monkeypatch):
    assert find_location(ResultsFolder(tmp_path), None).uri == sqlite_uri(tmp_path)
    assert find_location(ResultsFolder(tmp_path), None, "http://recorded").uri == "http://recorded"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment")
    assert find_location(ResultsFolder(tmp_path), None, "http://recorded").uri == "http://environment"
    assert find_location(ResultsFolder(tmp_path), "http://asked").uri == "http://asked"


def test_place_in_records_tells_no_path_and_no_password(tmp_path):
    default = find_location(ResultsFolder(tmp_path), None)
    assert default.stored == "sqlite:///mlflow.db"
    assert default.artifacts == (tmp_path / "mlartifacts").as_uri()
    beside = find_location(ResultsFolder(tmp_path / "results"), f"sqlite:///{tmp_path}/other.db")
    assert beside.stored == "sqlite:///../other.db"
    assert find_location(ResultsFolder(tmp_path / "results"), None, beside.stored).uri == beside.uri
    assert find_location(ResultsFolder(tmp_path), "postgresql://me:secret@host/db").stored == "postgresql://host/db"


def test_run_in_sqlite(results, capfd):
    tracker = Tracker(ResultsFolder(results), None)
    record = track(tracker, make_record())
    assert tracker.problem is None
    (run,) = server_runs(sqlite_uri(results))
    assert record.tracked == Tracked(uri="sqlite:///mlflow.db", run_id=run.info.run_id, epochs=3, complete=True)
    assert (run.info.status, run.info.end_time) == ("FINISHED", 1_000_000_010_000)
    assert run.data.metrics["test_top1"] == 59.0
    assert run.data.params["method.l1_layer"] == "0.1"
    assert run.data.tags["machine.cpu"] == "A CPU"
    assert run.data.tags["version.torch"] == "2.11"
    assert run.data.tags["status"] == "finished"
    assert losses(sqlite_uri(results), run.info.run_id) == expected_losses(3)
    (artifact,) = results.glob("mlartifacts/*/artifacts/record.json")
    assert Record.model_validate_json(artifact.read_bytes()) == record
    assert str(results) not in record.model_dump_json()
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("database")
def test_interrupted_run_goes_on_in_the_same_mlflow_run(results):
    first = Tracker(ResultsFolder(results), None)
    first.run_started(make_run())
    first.epoch_finished(make_run(), make_history(1))
    state = read_state(ResultsFolder(results), make_run().run_id)
    assert state is not None
    assert state.epochs == 1
    record = track(Tracker(ResultsFolder(results), None), make_record())
    assert record.tracked.run_id == state.run_id
    assert losses(sqlite_uri(results), state.run_id) == expected_losses(3)


@pytest.mark.usefixtures("database")
def test_failed_run_done_again_goes_on_in_the_same_mlflow_run(results):
    failed = track(Tracker(ResultsFolder(results), None), make_record(status="failed"), epochs=2)
    (run,) = server_runs(sqlite_uri(results))
    assert (run.info.status, run.data.tags["error"]) == ("FAILED", "ValueError: no")
    record = track(Tracker(ResultsFolder(results), None), make_record())
    assert record.tracked.run_id == failed.tracked.run_id
    (run,) = server_runs(sqlite_uri(results))
    assert run.info.status == "FINISHED"
    assert losses(sqlite_uri(results), run.info.run_id) == expected_losses(3)


def test_without_mlflow(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    tracker = Tracker(ResultsFolder(results), None)
    record = track(tracker, make_record())
    assert record.tracked == Tracked(uri="sqlite:///mlflow.db", run_id="")
    assert "pip install mlflow" in tracker.problem
    assert "--tracking none" in tracker.problem
    assert "\n" not in tracker.problem
    write(results, record)
    with pytest.raises(UserError, match="pip install mlflow"):
        sync(ResultsFolder(results), None)


@pytest.fixture
def slept(monkeypatch):
    """What was waited for between attempts, in seconds: on a slow machine it is the same."""
    found, sleep = [], time.sleep

    def recorded(seconds):
        found.append(seconds)
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", recorded)
    return found


def test_server_down_from_the_start(results, slept):
    tracker = Tracker(ResultsFolder(results), DOWN)
    record = track(tracker, make_record())
    assert sum(slept) < 20
    assert record.tracked == Tracked(uri=DOWN, run_id="")
    assert "no answer (NewConnectionError)" in tracker.problem
    assert f"dynbench sync '{results}'" in tracker.problem


def test_database_that_cannot_be_opened_fails_at_once(results, slept):
    results.mkdir()
    (results / "mlflow.db").write_text("not a database, but long enough to look at" * 100)
    tracker = Tracker(ResultsFolder(results), None)
    assert track(tracker, make_record()).tracked.complete is False
    assert sum(slept) < 20
    assert "not a database" in tracker.problem


@pytest.mark.usefixtures("database")
def test_sync_sends_once(results):
    write(results, make_record(0))
    write(results, make_record(1, status="failed"))
    done = sync(ResultsFolder(results), None)
    assert (done.sent, done.already, done.busy) == (2, 0, 0)
    again = sync(ResultsFolder(results), None)
    assert (again.sent, again.already, again.busy) == (0, 2, 0)
    runs = server_runs(sqlite_uri(results))
    assert {record.tracked.run_id for record in ResultsFolder(results).records()} == {run.info.run_id for run in runs}
    assert '"/' not in "".join(path.read_text() for path in results.glob("records/*.json"))


@pytest.mark.usefixtures("database")
def test_a_later_run_sends_what_an_earlier_one_began_to_send(results):
    begun, untracked = make_record(0), make_record(1)
    write(results, begun.model_copy(update={"tracked": Tracked(uri="sqlite:///mlflow.db", run_id="")}))
    write(results, untracked)
    runs = [begun.run, untracked.run]
    assert send_rest(ResultsFolder(results), runs, None, 60) is None
    sent, unsent = (ResultsFolder(results).read(run.run_id) for run in runs)
    assert sent.tracked.complete
    assert unsent.tracked is None
    assert [run.info.run_id for run in server_runs(sqlite_uri(results))] == [sent.tracked.run_id]


@pytest.mark.usefixtures("database")
def test_a_later_run_sends_what_only_the_state_speaks_of(results):
    """Another process had written the record, and the one that tells MLflow was killed."""
    record, folder = make_record(), ResultsFolder(results)
    tracker = Tracker(folder, None)
    tracker.run_started(record.run)
    write(results, record)
    assert send_rest(folder, [record.run], None, 60) is None
    assert folder.read(record.run_id).tracked.complete
    assert len(server_runs(sqlite_uri(results))) == 1


def test_a_later_run_finds_the_server_still_down(results, slept):
    record = make_record()
    write(results, record.model_copy(update={"tracked": Tracked(uri=DOWN, run_id="")}))
    problem = send_rest(ResultsFolder(results), [record.run], DOWN, 60)
    assert sum(slept) < 20
    assert "no answer (NewConnectionError)" in problem
    assert f"dynbench sync '{results}'" in problem


@pytest.mark.usefixtures("database")
def test_sync_goes_on_with_a_run_that_was_killed_while_it_was_timed(results):
    tracker = Tracker(ResultsFolder(results), None)
    tracker.run_started(make_run())
    tracker.epoch_finished(make_run(), make_history(3))
    write(results, make_record())
    assert sync(ResultsFolder(results), None).sent == 1
    (run,) = server_runs(sqlite_uri(results))
    assert losses(sqlite_uri(results), run.info.run_id) == expected_losses(3)


@pytest.mark.usefixtures("database")
def test_sync_of_committed_records_without_their_database(results, tmp_path):
    write(results, make_record())
    sync(ResultsFolder(results), None)
    checkout = tmp_path / "checkout"
    shutil.copytree(results / "records", checkout / "records")
    assert sync(ResultsFolder(checkout), None).sent == 1
    assert sync(ResultsFolder(checkout), None).already == 1


@pytest.mark.usefixtures("database")
def test_sync_after_the_mlflow_run_was_deleted(results):
    write(results, make_record())
    sync(ResultsFolder(results), None)
    (record,) = ResultsFolder(results).records()
    client(sqlite_uri(results)).delete_run(record.tracked.run_id)
    incomplete = record.tracked.model_copy(update={"complete": False})
    write(results, record.model_copy(update={"tracked": incomplete}))
    assert sync(ResultsFolder(results), None).sent == 1
    (run,) = server_runs(sqlite_uri(results))
    assert losses(sqlite_uri(results), run.info.run_id) == expected_losses(3)


def test_sync_leaves_a_run_alone_that_is_being_done(results):
    record = make_record(status="failed")
    write(results, record)
    folder = results / "work" / record.run_id
    folder.mkdir(parents=True)
    with FileLock(folder / "lock"):
        assert sync(ResultsFolder(results), None).busy == 1


def test_nothing_to_send_imports_no_mlflow(results):
    results.mkdir()
    (results / "mlflow.db").touch()
    tracked = Tracked(uri="sqlite:///mlflow.db", run_id="r", epochs=3, complete=True)
    write(results, make_record().model_copy(update={"tracked": tracked}))
    script = (
        "import sys; from dynbench.cli import cli\n"
        "cli.main(['sync', sys.argv[1]], standalone_mode=False); assert 'mlflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script, str(results)], capture_output=True, text=True, check=True)
    assert done.stdout == "sent 0, already there 1\n"


def test_sync_command_when_the_server_is_down(results, capsys):
    write(results, make_record())
    with pytest.raises(SystemExit) as stopped:
        main(["sync", str(results), "--tracking-uri", DOWN])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: MLflow at {DOWN}: no answer")
    assert error.count("\n") == 1


def test_plots_go_to_one_run_of_the_suite(results):
    (results / "plots").mkdir(parents=True)
    assert log_plots(ResultsFolder(results), "little", None) is None  # nothing drawn, nothing sent
    assert not (results / "mlflow.db").exists()
    (results / "plots" / "pareto.svg").write_text("<svg/>")
    assert log_plots(ResultsFolder(results), "little", None) is None
    (results / "plots" / "pareto.svg").write_text("<svg></svg>")
    (results / "report.html").write_text("<!doctype html>")
    assert log_plots(ResultsFolder(results), "little", None) is None
    assert [path.read_text() for path in results.glob("mlartifacts/*/artifacts/report.html")] == ["<!doctype html>"]
    (sent,) = results.glob("mlartifacts/*/artifacts/plots/pareto.svg")
    assert sent.read_text() == "<svg></svg>"


@pytest.mark.usefixtures("database")
def test_plots_when_the_server_is_down_are_synced(results):
    (results / "plots").mkdir()
    (results / "plots" / "pareto.png").write_bytes(b"png")
    assert "sends the plots later" in log_plots(ResultsFolder(results), "little", DOWN)
    write(results, make_record())
    sync(ResultsFolder(results), None)
    assert list(results.glob("mlartifacts/*/artifacts/plots/pareto.png"))


def test_two_processes_create_one_experiment(results):
    script = (
        "import sys; from pathlib import Path; from dynbench.tracking.location import find_location\n"
        "from dynbench.record.folder import ResultsFolder; from dynbench.tracking.store import Store\n"
        "store = Store(find_location(ResultsFolder(Path(sys.argv[1])), None)); print('ready', flush=True); input()\n"
        "print(store.open_suite('little', 1e9, None).tracked.run_id)"
    )
    command = [sys.executable, "-c", script, str(results)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as other:
        for process in (one, other):
            assert process.stdout.readline() == "ready\n"
        for process in (one, other):
            process.stdin.write("\n")
            process.stdin.flush()
        ids = {process.communicate(timeout=600)[0] for process in (one, other)}
    assert len(ids) == 2
    assert "" not in ids


def test_run_on_a_server(results, server, monkeypatch, capfd):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    tracker = Tracker(ResultsFolder(results), None)
    record = track(tracker, make_record(seed=10))
    assert capfd.readouterr() == ("", "")
    assert tracker.problem is None
    assert record.tracked.uri == server.uri
    assert record.tracked.complete
    assert losses(server.uri, record.tracked.run_id) == expected_losses(3)
    folder = client(server.uri).download_artifacts(record.tracked.run_id, "", str(results))
    assert json.loads((Path(folder) / "record.json").read_text())["tracked"]["complete"]
    assert not (results / "mlflow.db").exists()


def test_server_killed_midway_costs_nothing(results, server):
    tracker = Tracker(ResultsFolder(results), server.uri)
    tracker.run_started(make_run(11))
    tracker.epoch_finished(make_run(11), make_history(1))
    server.kill()
    try:
        tracker.epoch_finished(make_run(11), make_history(2))
        assert tracker.problem is not None
        tracker.epoch_finished(make_run(11), make_history(3))
        record = tracker.run_finished(make_record(11))
        write(results, record)
        assert (record.tracked.epochs, record.tracked.complete) == (1, False)
        with pytest.raises(UserError, match="no answer"):
            sync(ResultsFolder(results), server.uri)
    finally:
        server.start()
    with pytest.raises(UserError, match=f"--tracking-uri {server.uri}"):
        sync(ResultsFolder(results), None)
    done = CliRunner().invoke(cli, ["sync", str(results), "--tracking-uri", server.uri])
    assert done.output == "sent 1, already there 0\n"
    (synced,) = ResultsFolder(results).records()
    assert synced.tracked == record.tracked.model_copy(update={"epochs": 3, "complete": True})
    assert losses(server.uri, record.tracked.run_id) == expected_losses(3)
    assert [run.info.run_id for run in server_runs(server.uri)].count(record.tracked.run_id) == 1
    assert sync(ResultsFolder(results), None).already == 1


def test_server_back_before_the_run_ends_gets_everything(results, server, monkeypatch):
    tracker = Tracker(ResultsFolder(results), server.uri)
    tracker.run_started(make_run(12))
    with monkeypatch.context() as broken:
        broken.setattr("mlflow.MlflowClient.log_batch", lambda *args, **kwargs: 1 / 0)
        tracker.epoch_finished(make_run(12), make_history(1))
    assert "division by zero" in tracker.problem
    record = tracker.run_finished(make_record(12))
    assert tracker.problem is None
    assert record.tracked.complete
    assert losses(server.uri, record.tracked.run_id) == expected_losses(3)
