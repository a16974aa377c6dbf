"""Trained weights as files that say of which run they are, and their results found again."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dynbench.errors import UserError
from dynbench.record import weights_file as releasing
from dynbench.record.folder import ResultsFolder
from dynbench.record.weights_file import released_record
from tests.conftest import Call


def lc_net(results: Path) -> str:
    return next(record.run_id for record in ResultsFolder(results).records() if record.run.method == "lc_net")


def test_released_weights_give_the_recorded_results_without_their_folder(
    finished: Path, tmp_path: Path, call: Call
) -> None:
    run_id = lc_net(finished)
    assert call("export", finished, "--weights", tmp_path, "--run", run_id).exit_code == 0
    (file,) = tmp_path.iterdir()
    (record,) = (record for record in ResultsFolder(finished).records() if record.run_id == run_id)
    assert released_record(file) == record
    result = call("verify", file)
    assert result.exit_code == 0, result.output
    assert result.output.count("as recorded") == len(record.points) == 3
    assert f"top-1 {record.points[0].test_top1:.2f} %, {record.points[0].macs.mean:.1f} MACs" in result.output


def test_every_finished_run_is_released_and_verified_from_its_record_too(
    finished: Path, tmp_path: Path, call: Call
) -> None:
    call("export", finished, "--weights", tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == {record.run_id for record in ResultsFolder(finished).records()}
    result = call("verify", finished / "records" / f"{lc_net(finished)}.json")
    assert result.exit_code == 0, result.output


def test_other_weights_are_noticed(finished: Path, tmp_path: Path, call: Call) -> None:
    run_id = lc_net(finished)
    weights = load_file(finished / "work" / run_id / "model.safetensors")
    other = {name: torch.zeros_like(tensor) if "linear" in name else tensor for name, tensor in weights.items()}
    save_file(other, tmp_path / "other.safetensors")
    record = finished / "records" / f"{run_id}.json"
    result = call("verify", record, "--weights", tmp_path / "other.safetensors")
    assert result.exit_code == 1
    assert "images and +0.0 MACs of difference" in result.output


def test_a_record_that_claims_fewer_macs_is_noticed(finished: Path, tmp_path: Path, call: Call) -> None:
    run_id = lc_net(finished)
    content = json.loads((finished / "records" / f"{run_id}.json").read_text())
    point = content["points"][0]
    point["macs"]["mean"] -= 1
    point["macs"]["backbone"] -= 1
    next(layer for layer in point["layers"] if layer["kind"] == "backbone")["mean"] -= 1  # it is at one with itself
    path = tmp_path / "records" / f"{run_id}.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    result = call("verify", path, "--weights", finished / "work" / run_id / "model.safetensors")
    assert result.exit_code == 1
    assert "0 images and +1.0 MACs of difference" in result.output


def test_files_over_the_limit_are_refused(
    finished: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releasing, "LIMIT_MB", 0.001)
    result = call("export", finished, "--weights", tmp_path, "--run", lc_net(finished))
    assert result.exit_code == 2
    assert "limit" in result.output
    assert not list(tmp_path.iterdir())


def test_weights_without_a_record_say_so(finished: Path) -> None:
    with pytest.raises(UserError, match="does not say of which run it is"):
        released_record(finished / "work" / lc_net(finished) / "model.safetensors")


def test_a_run_that_is_not_there_is_named(finished: Path, tmp_path: Path, call: Call) -> None:
    result = call("export", finished, "--weights", tmp_path, "--run", "lc_net")
    assert result.exit_code == 2
    assert 'no finished run "lc_net"' in result.output
