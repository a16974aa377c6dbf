"""What makes a record valid, and that every command which reads a folder refuses what is not."""

import json
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynbench.check.baseline import read_baseline
from dynbench.errors import UserError
from dynbench.plan.run import RESULTS_VERSION
from dynbench.record.arrays_file import LARGEST_FILE, load_arrays, save_arrays
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Record
from dynbench.record.store import parse_record, read_record
from dynbench.record.validity import is_component
from tests.conftest import Call
from tests.helpers.records import IMAGES, Fake, make_record, write_fakes

ROOT = Path(__file__).parents[2]
COMMITTED = sorted(path.parent for path in (ROOT / "results").glob("**/records"))
FAKES = [
    Fake(audited=True, layers=(("conv1", 40_000_000),), speeds=(1.0,)),
    Fake("lc_net", {"l1_layer": 0.1}, 0, ("whole", "half"), 89.0, (20.0, 9.0), 0.1, audited=True),
]
RUN_ID = make_record(FAKES[1])[0].run_id


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda path: path.name)
def test_what_is_committed_is_valid(folder: Path) -> None:
    assert ResultsFolder(folder).records()


def test_the_committed_baseline_is_valid() -> None:
    assert read_baseline(ROOT / "results" / "baselines" / "ci.json").configurations


def written(tmp_path: Path) -> ResultsFolder:
    write_fakes(tmp_path, FAKES)
    return ResultsFolder(tmp_path)


def changed(results: ResultsFolder, change: Callable[[dict[str, Any]], Any], run_id: str = RUN_ID) -> None:
    """The record's JSON after `change`."""
    path = results.record_path(run_id)
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


def put(*place: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change: what stands at `place` becomes `value`."""

    def change(content: Any) -> None:
        for part in place[:-1]:
            content = content[part]
        content[place[-1]] = value

    return change


def scaled_layers(content: dict[str, Any]) -> None:
    content["points"][0]["layers"] = [{"name": "conv1", "kind": "backbone", "macs": 10**9, "mean": 1e6}]


NAN, INF, HUGE = float("nan"), float("inf"), 2**63
POINT = ("points", 0)
WRONG = {
    "accuracy": put(*POINT, "test_top1", value=10.0),
    "accuracy NaN": put(*POINT, "test_top1", value=NAN),
    "accuracy infinite": put(*POINT, "val_top1", value=INF),
    "accuracy above 100": put(*POINT, "val_top1", value=100.5),
    "top five": put(*POINT, "test_top5", value=90.0),
    "MACs": put(*POINT, "macs", "mean", value=1e6),
    "MACs NaN": put(*POINT, "macs", "mean", value=NAN),
    "MACs infinite": put(*POINT, "macs", "p50", value=-INF),
    "MACs of kinds": put(*POINT, "macs", "gates", value=0.0),
    "MACs at most": put(*POINT, "macs", "max", value=1),
    "MACs of the median": put(*POINT, "macs", "p50", value=1.0),
    "MACs of 95 %": put(*POINT, "macs", "p95", value=1.0),
    "MACs of layers": scaled_layers,
    "dense for nothing": put("macs_dense", value=0),
    "dense beyond 64 bits": put("macs_dense", value=HUGE),
    "MACs beyond 64 bits": put(*POINT, "macs", "max", value=HUGE),
    "budget beyond 64 bits": put("budget", "stages", 0, "train_macs", value=HUGE),
    "budget beyond 64 bits, summed": lambda content: content["budget"]["stages"].extend(
        [content["budget"]["stages"][0] | {"train_macs": 2**62}] * 2
    ),
    "seed beyond 64 bits": put("run", "seed", value=2**64),
    "machine beyond 64 bits": put("machine", "memory_bytes", value=2**70),
    "time infinite": put("finished", value=INF),
    "audited, of nothing": put(*POINT, "audit_images", value=0),
    "not audited, of something": put(*POINT, "audited", value=False),
    "one name twice": put("points", 1, "name", value="whole"),
    "no point": put("points", value=[]),
    "an error": put("error", value="it broke"),
    "failed, with results": put("status", value="failed"),
    "another run": put("run", "seed", value=7),
    "another parameter": put("run", "given", "l1_layer", value=0.2),
    "another id": put("run_id", value="../../../x"),
    "an absolute id": put("run_id", value="/tmp/x"),
    "a suite that leads out": put("run", "suite", value="../../../x"),
    "a name that a terminal obeys": put(*POINT, "name", value="\x1b[2J"),
    "no name": put("run", "data", "name", value=""),
    "an unknown key": put("better", value=True),
    "a list for a text": put("commit", value=[]),
    "another schema": put("schema_version", value=2),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_record_that_contradicts_itself_or_its_arrays_is_refused(tmp_path: Path, name: str) -> None:
    results = written(tmp_path)
    changed(results, WRONG[name])
    with pytest.raises(UserError) as refused:
        results.records()
    assert "\n" not in str(refused.value)
    assert RUN_ID in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_a_record_is_named_after_its_run(tmp_path: Path) -> None:
    results = written(tmp_path)
    other = results.record_path(RUN_ID).rename(results.record_path("better"))
    with pytest.raises(UserError, match=r"better\.json is not valid: its file is not named after its run_id"):
        read_record(other)


def test_an_id_of_an_older_harness_follows_from_its_run_too(monkeypatch: pytest.MonkeyPatch) -> None:
    record, _ = make_record(FAKES[0])
    older = record.model_dump_json()
    monkeypatch.setattr("dynbench.record.validity.RESULTS_VERSION", RESULTS_VERSION + 1)
    assert parse_record(older, "it", record.run_id) == record


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/x", "a/b", "a\\b", "a\0b", "a\nb", ".hidden"])
def test_what_leads_elsewhere_is_no_files_name(tmp_path: Path, name: str) -> None:
    assert not is_component(name)
    results = ResultsFolder(tmp_path)
    for where in (results.record_path, results.arrays_path, results.latency_arrays_path, results.weights):
        if name:
            with pytest.raises(UserError, match="is not a run's id"):
                where(name)
    assert is_component(RUN_ID)


Arrays = dict[str, Any]
WRONG_ARRAYS: dict[str, Callable[[Arrays], Any]] = {
    "floats for flags": lambda a: a.update({"whole/correct": a["whole/correct"].astype(float)}),
    "NaN for flags": lambda a: a.update({"whole/correct": np.full(IMAGES, np.nan)}),
    "text for flags": lambda a: a.update({"whole/correct": a["whole/correct"].astype(str)}),
    "parts for flags": lambda a: a.update({"whole/correct": np.zeros(IMAGES, [("a", bool), ("b", "i4")])}),
    "objects for flags": lambda a: a.update({"whole/correct": np.array([None] * IMAGES)}),
    "times for MACs": lambda a: a.update({"whole/macs": np.zeros(IMAGES, "M8[s]")}),
    "32 bits for MACs": lambda a: a.update({"whole/macs": a["whole/macs"].astype(np.int32)}),
    "other bytes for MACs": lambda a: a.update({"whole/macs": a["whole/macs"].astype(">i8")}),
    "floats for MACs": lambda a: a.update({"whole/macs": a["whole/macs"].astype(float)}),
    "negative MACs": lambda a: a.update({"whole/macs": -a["whole/macs"]}),
    "fewer MACs": lambda a: a.update({"whole/macs": a["whole/macs"][:-1]}),
    "a column of MACs": lambda a: a.update({"whole/macs": a["whole/macs"][:, None]}),
    "one number for MACs": lambda a: a.update({"whole/macs": np.int64(5)}),
    "nothing": lambda a: a.update({name: array[:0] for name, array in a.items()}),
    "fewer images": lambda a: a.update({name: array[:200] for name, array in a.items()}),
    "fewer images of a point": lambda a: a.update({n: np.tile(v, 2) for n, v in a.items() if n.startswith("half")}),
    "no MACs": lambda a: a.pop("half/macs"),
    "right, and not among five": lambda a: a.update({"whole/correct5": ~a["whole/correct"]}),
    "logits that are infinite": lambda a: a.update({"whole/audit_logits": np.full((16, 10), np.inf, np.float32)}),
    "logits of others": lambda a: a.update({"whole/audit_logits": np.zeros((17, 10), np.float32)}),
}


@pytest.mark.parametrize("name", WRONG_ARRAYS)
def test_arrays_that_are_not_the_records_are_refused(tmp_path: Path, name: str) -> None:
    results = written(tmp_path)
    arrays = results.arrays(RUN_ID)
    WRONG_ARRAYS[name](arrays)
    np.savez(results.arrays_path(RUN_ID), allow_pickle=True, **arrays)
    with pytest.raises(UserError, match=rf"per-image arrays .*{RUN_ID}.*run it again"):
        results.records()
    with pytest.raises(UserError, match="per-image arrays"):
        results.arrays(RUN_ID)


def test_arrays_of_another_run_are_refused(tmp_path: Path) -> None:
    fakes = [Fake("l_net", {}, seed, top1=90.0, mmacs=(20.0,), spread=0.1) for seed in (0, 1)]
    one, other = (record.run_id for record in write_fakes(tmp_path, fakes))
    results = ResultsFolder(tmp_path)
    results.arrays_path(one).write_bytes(results.arrays_path(other).read_bytes())
    with pytest.raises(UserError, match="are not those of their record"):
        results.records()


def npz(member: bytes, name: str = "a.npy", kind: int = zipfile.ZIP_STORED) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        archive.writestr(name, member)
    return file.getvalue()


def npy(array: np.ndarray, pickled: bool = False) -> bytes:
    file = BytesIO()
    np.save(file, array, allow_pickle=pickled)
    return file.getvalue()


def encrypted() -> bytes:
    """The bit that says so, in both headers."""
    content = bytearray(npz(npy(np.ones(3))))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    return bytes(content)


HEADER = npy(np.ones(3))
STRANGE = {
    "an array alone": HEADER,
    "nothing": b"",
    "text": b"no archive",
    "encrypted": encrypted(),
    "72 TiB": npz(HEADER.replace(b"(3,), }                   ", b"(9895604649984,), }       ")),
    "negative": npz(HEADER.replace(b"(3,)", b"(-3,)"[:4])),
    "objects": npz(npy(np.array([{}], object), pickled=True)),
    "a bomb": npz(bytes(LARGEST_FILE + 1), kind=zipfile.ZIP_DEFLATED),
    "packed otherwise": npz(HEADER, kind=zipfile.ZIP_BZIP2),
    "something else": npz(b"import os", "a.py"),
    "cut off": npz(HEADER[:-1]),
    "too long": npz(HEADER + b"x"),
    "no header": npz(b"\x93NUMPY"),
    "a newer header": npz(HEADER.replace(b"\x01\x00", b"\x09\x00", 1)),
    "nested header": npz(b"\x93NUMPY\x01\x00\x10\x27" + b"(" * 10000),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_file_of_arrays_is_one_line_and_costs_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(STRANGE[name])
    with pytest.raises(UserError, match="cannot read per-image arrays") as refused:
        load_arrays(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "array", [np.arange(6).reshape(2, 3), np.asfortranarray(np.eye(3)), np.array(2.5), np.zeros(0)]
)
def test_arrays_come_back_and_can_be_written_to(tmp_path: Path, array: np.ndarray) -> None:
    save_arrays(tmp_path / "a.npz", {"b/c": array})
    (found,) = load_arrays(tmp_path / "a.npz").values()
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)
    assert found.flags.writeable


READERS: dict[str, tuple[str, ...]] = {
    "report": (),
    "table": (),
    "export": (),
    "sync": (),
    "time": (),
    "baseline": ("-o", "made.json"),
    "check": ("--baseline", "baseline.json"),
}
"""Commands that read a results folder, and what they need besides."""


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("wrong", ["record", "arrays"])
def test_every_command_that_reads_refuses_what_is_not_valid(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, wrong: str
) -> None:
    monkeypatch.chdir(tmp_path)
    results = written(tmp_path / "results")
    assert call("baseline", results, "-o", "baseline.json", "--allow-simulated").exit_code == 0
    if wrong == "record":
        changed(results, put(*POINT, "test_top1", value=99.0))
    else:
        results.arrays_path(RUN_ID).write_bytes(results.arrays_path(make_record(FAKES[0])[0].run_id).read_bytes())
    before = sorted(path for path in tmp_path.rglob("*") if ".lock" not in path.name)
    refused = call(command, results, *READERS[command])
    assert refused.exit_code == 2, refused.output
    assert RUN_ID in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert sorted(path for path in tmp_path.rglob("*") if ".lock" not in path.name) == before


def test_a_record_of_code_is_written_as_it_is_read(tmp_path: Path) -> None:
    """No number that a record may hold is lost on its way through the file."""
    (record, _) = make_record(FAKES[0])
    assert Record.model_validate_json(record.model_dump_json()) == record
