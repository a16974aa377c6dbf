"""The flat table is a contract: columns, dtypes, and the same values in every format."""

import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

import dynbench
from dynbench.analysis.columns import COLUMNS, DTYPES, flat_table
from dynbench.analysis.export_formats import FORMATS
from dynbench.cli.commands.export import export_command
from dynbench.errors import UserError
from tests.helpers.records import MODES, Fake, make_record, small_suite, write_fakes

CONTRACT = {
    "suite": "string",
    "run_id": "string",
    "method": "string",
    "params": "string",
    "point": "string",
    "backbone": "string",
    "width": "Float64",
    "dataset": "string",
    "seed": "Int64",
    "status": "string",
    "epochs": "Int64",
    "train_macs": "Int64",
    "val_top1": "Float64",
    "test_top1": "Float64",
    "test_top5": "Float64",
    "macs_mean": "Float64",
    "macs_p50": "Float64",
    "macs_p95": "Float64",
    "macs_max": "Int64",
    "macs_dense": "Int64",
    "macs_gates": "Float64",
    "audited": "boolean",
    "device": "string",
    "torch_version": "string",
    "commit": "string",
    "macs_backbone": "Float64",
    "macs_shortcuts": "Float64",
    "train_seconds": "Float64",
    "train_precision": "string",
    "error": "string",
    "latency_ms_p50": "Float64",
    "latency_ms_p90": "Float64",
    "latency_ms_p99": "Float64",
    "dense_latency_ms_p50": "Float64",
    "realised": "Float64",
    "throughput_ips": "Float64",
    "threads": "Int64",
    "precision": "string",
    "engine": "string",
    "realised_best": "Float64",
    "best_engine": "string",
    "epochs_pretrained": "Int64",
    "train_macs_pretrained": "Int64",
    "static": "boolean",
    "world_size": "Int64",
    "train_images_per_second": "Float64",
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_fakes(tmp_path, small_suite())
    return tmp_path


def export(*arguments: str | Path) -> bytes:
    result = CliRunner().invoke(export_command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout_bytes


def test_contract_is_pinned() -> None:
    assert list(DTYPES.items()) == list(CONTRACT.items())
    assert all(column.meaning for column in COLUMNS)


def test_one_row_per_operating_point_and_one_per_failure(results: Path) -> None:
    table = dynbench.load(results)
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == CONTRACT
    counts = table.groupby(["status", "method"]).size().to_dict()
    assert counts == {
        ("failed", "l_net"): 1,
        ("finished", "dense"): 3,
        ("finished", "lc_net"): 6,
        ("finished", "c_net"): 3,
        ("finished", "l_net"): 3,
    }
    assert not table.duplicated(["run_id", "point"]).any()


def test_a_failed_run_has_no_results_and_says_why(results: Path) -> None:
    table = dynbench.load(results)
    failed = table[table.status == "failed"].iloc[0]
    empty = {name for name in table.columns if failed[name] is pd.NA}
    described = {"suite", "run_id", "method", "params", "backbone", "width", "dataset", "seed", "status", "static"}
    made_on = {"macs_dense", "device", "torch_version", "commit", "train_precision", "error", "world_size"}
    assert empty == set(CONTRACT) - described - made_on
    assert failed.error == "TrainingDiverged: the loss is nan in epoch 3"


def test_values_of_a_row() -> None:
    fake = Fake("lc_net", {"l1_layer": 0.01, "init": "dense"}, 3, MODES, 89.75, (9.0, 15.0, 20.0), audited=True)
    row = flat_table([make_record(fake)[0]]).iloc[1]
    assert row.point == "parallel_cancel"
    assert row.params == '{"init":"dense","l1_layer":0.01}'
    assert (row.seed, row.width, row.test_top1, row.macs_max) == (3, 1.0, 89.75, 15_000_000)
    assert (row.epochs, row.train_macs, row.train_seconds) == (26, 2 * 10**16 + 26, 123.0)  # pretraining included
    own = make_record(fake)[0].budget.stages
    assert row.train_images_per_second == pytest.approx(sum(s.images for s in own) / sum(s.seconds for s in own))
    assert bool(row.audited)
    assert row.macs_backbone + row.macs_shortcuts + row.macs_gates == pytest.approx(row.macs_mean)


def test_width_is_the_built_backbones() -> None:
    assert flat_table([make_record(Fake(given={"width": 0.7}))[0]]).width.tolist() == [0.7]


def test_every_format_gives_what_load_gives(results: Path, tmp_path: Path) -> None:
    table = dynbench.load(results)
    csv = pd.read_csv(BytesIO(export(results)), dtype=DTYPES, keep_default_na=False, na_values=[""])
    rows = json.loads(export(results, "--format", "json"))
    export(results, "--format", "parquet", "-o", tmp_path / "table.parquet")
    parquet = pd.read_parquet(tmp_path / "table.parquet")
    pd.testing.assert_frame_equal(csv, table, check_exact=True)
    pd.testing.assert_frame_equal(pd.DataFrame(rows).astype(DTYPES), table, check_exact=True)
    pd.testing.assert_frame_equal(parquet, table, check_exact=True)


def test_whole_numbers_stay_whole_beside_a_failed_run(results: Path) -> None:
    table = dynbench.load(results)
    assert table.train_macs.isna().any()
    assert table.train_macs.max() == 10**16 + 16  # a float cannot tell it from 10**16 + 15
    assert b"10000000000000016," in FORMATS["csv"].encode(table)
    assert b'"train_macs": 10000000000000016,' in FORMATS["json"].encode(table)


def test_export_to_a_file(results: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "table.csv"
    assert export(results, "-o", target) == b""
    assert target.read_bytes() == FORMATS["csv"].encode(dynbench.load(results))


def test_parquet_needs_a_file(results: Path) -> None:
    with pytest.raises(UserError, match="-o FILE"):
        export(results, "--format", "parquet")


def test_no_records_and_damaged_records_are_said_in_one_line(results: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no records in .*dynbench run"):
        dynbench.load(tmp_path / "nothing")
    damaged = next((results / "records").glob("*.json"))
    damaged.write_text(damaged.read_text()[:200])
    with pytest.raises(UserError, match=f"{damaged.name} is damaged") as error:
        export(results)
    assert "\n" not in str(error.value)


def test_import_is_cheap() -> None:
    code = "import sys, dynbench; print(sorted({'torch', 'pandas', 'numpy', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
