"""A results folder: what is read, and how often; one lock; on disk as it always was."""

import pickle
from pathlib import Path

import pytest

from dynbench.errors import UserError
from dynbench.record import folder
from dynbench.record.folder import ResultsFolder, RunTaken
from tests.helpers.records import Fake, make_record, make_run, write_fakes


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the runs whose record was read from its file, one for each time."""
    found: list[str] = []
    read = folder.read_record
    monkeypatch.setattr(folder, "read_record", lambda path: (found.append(path.stem), read(path))[1])
    return found


def test_a_record_is_read_once_and_again_when_another_process_has_written_it(tmp_path: Path, reads: list[str]) -> None:
    (record,) = write_fakes(tmp_path, [Fake()])
    results = ResultsFolder(tmp_path)
    assert results.read(record.run_id) == results.read(record.run_id) == results.records()[0] == record
    assert reads == [record.run_id]
    (failed,) = write_fakes(tmp_path, [Fake(error="it broke")])
    assert failed.run_id == record.run_id
    assert results.read(record.run_id) == failed
    assert not results.is_finished(record.run_id)
    assert reads == [record.run_id] * 2
    results.record_path(record.run_id).unlink()
    assert results.read(record.run_id) is None


def test_a_folder_goes_to_other_processes_without_what_was_read(tmp_path: Path, reads: list[str]) -> None:
    (record,) = write_fakes(tmp_path, [Fake()])
    results = ResultsFolder(tmp_path)
    results.records()
    sent = pickle.dumps(results)
    assert len(sent) < 300
    there = pickle.loads(sent)
    assert there == results
    assert there.read(record.run_id) == record
    assert reads == [record.run_id] * 2


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    here, there = ResultsFolder(tmp_path), ResultsFolder(tmp_path)
    with here.lock("a"), there.lock("b"), pytest.raises(RunTaken), there.lock("a"):
        pytest.fail("two hold it")
    with there.lock("a"):
        assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["a", "b"]


def test_a_work_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file where a folder should be")
    with (
        pytest.raises(UserError, match=r"cannot write to .*work/a: Not a directory"),
        ResultsFolder(tmp_path).lock("a"),
    ):
        pytest.fail("locked")


def test_where_things_lie(tmp_path: Path) -> None:
    """Committed results and half-done work of earlier versions are found there."""
    results = ResultsFolder(tmp_path)
    found = {
        results.record_path("r"): "records/r.json",
        results.arrays_path("r"): "records/r.npz",
        results.latency_arrays_path("r"): "records/r.latency.npz",
        results.weights("r"): "work/r/model.safetensors",
        results.checkpoint("r"): "work/r/checkpoint.pt",
        results.stage_weights("r", 0): "work/r/stage0.safetensors",
        results.output("r"): "work/r/output.log",
        results.output("r", rank=1): "work/r/output-1.log",
        results.tracking_state("r"): "work/r/tracked.json",
        results.table: "table.md",
        results.plots: "plots",
    }
    assert {path.relative_to(tmp_path).as_posix(): name for path, name in found.items()} == {
        name: name for name in found.values()
    }
    assert ResultsFolder.of_record(results.record_path("r")) == results
    assert not results.has_token("")
    assert results.has_token(results.token())


def test_of_a_finished_run_only_the_weights_are_kept(tmp_path: Path) -> None:
    results = ResultsFolder(tmp_path)
    for path in (results.weights("r"), results.checkpoint("r"), results.stage_weights("r", 3), results.output("r")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (results.work("r") / ".checkpoint.pt.cut-off").touch()
    results.clean_up("r")
    assert {path.name for path in results.work("r").iterdir()} == {"model.safetensors", "output.log"}


def test_a_run_is_done_again_for_the_weights_that_another_starts_from(tmp_path: Path) -> None:
    from dynbench.plan.run import Start

    results, dense = ResultsFolder(tmp_path), make_run(Fake())
    gated = make_run(Fake("lc_net")).model_copy(update={"start": Start(run_id=dense.run_id)})
    results.write_record(make_record(Fake())[0])
    assert results.unfinished([dense, gated]) == [dense, gated]
    assert results.is_unfinished(dense, [dense, gated])
    assert not results.is_unfinished(dense, [dense])
    results.weights(dense.run_id).parent.mkdir(parents=True)
    results.weights(dense.run_id).touch()
    assert results.unfinished([dense, gated]) == [gated]
    assert not results.is_unfinished(dense, [dense, gated])
