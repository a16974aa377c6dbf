"""The committed records: of the committed suite, whole, and what their arrays and weights say."""

from pathlib import Path

import numpy as np
import pytest

from dynbench.backbones import build_backbone
from dynbench.backbones.weights import load_weights, read_weights
from dynbench.cli.options import read_suite
from dynbench.data import dataset_info
from dynbench.errors import UserError
from dynbench.estimate.plan import make_plan
from dynbench.plan.expand import expand_suite
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Record

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "reference"
SUITES = sorted(folder.name for folder in REFERENCE.iterdir() if (folder / "records").is_dir())
RECORDS = [(suite, record) for suite in SUITES for record in ResultsFolder(REFERENCE / suite).records()]


def names(value: object) -> str:
    return value.run_id if isinstance(value, Record) else str(value)


@pytest.mark.parametrize("suite", SUITES)
def test_records_are_of_the_suite_as_it_is_committed(suite: str) -> None:
    """All of them, and of what is more, the controls: a change that renames runs makes the reference records those
    of other runs."""
    read = read_suite(ROOT / "suites" / f"{suite}.yaml")
    try:
        asked = expand_suite(read)
    except UserError as error:
        pytest.skip(str(error))  # a file of weights that it starts from is not here
    planned = make_plan(read, ResultsFolder(REFERENCE / suite)).runs
    found = {record.run_id for record in ResultsFolder(REFERENCE / suite).records()}
    assert {run.run_id for run in asked} <= found <= {run.run_id for run in planned}


@pytest.mark.parametrize(("suite", "record"), RECORDS, ids=names)
def test_a_record_is_still_called_by_what_it_holds(suite: str, record: Record) -> None:
    assert record.run.run_id == record.run_id


@pytest.mark.parametrize(("suite", "record"), RECORDS, ids=names)
def test_a_record_agrees_with_its_arrays(suite: str, record: Record) -> None:
    arrays = ResultsFolder(REFERENCE / suite).arrays(record.run_id)
    for point in record.points:
        assert 100 * float(arrays[f"{point.name}/correct"].mean()) == pytest.approx(point.test_top1)
        assert float(arrays[f"{point.name}/macs"].mean()) == pytest.approx(point.macs.mean)
        assert int(np.max(arrays[f"{point.name}/macs"])) == point.macs.max
        assert point.audited


@pytest.mark.parametrize(("suite", "record"), RECORDS, ids=names)
def test_its_weights_fit_and_its_commit_was_clean(suite: str, record: Record) -> None:
    info = dataset_info(record.run.data)
    weights = ResultsFolder(REFERENCE / suite).weights(record.run_id)
    backbone = build_backbone(record.run.built, info.shape, info.num_classes)
    model = record.run.make_method().restore(backbone, read_weights(weights))
    load_weights(model, weights)
    assert not record.commit.endswith("-dirty")
