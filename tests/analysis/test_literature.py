"""The papers' own numbers: the shipped file, and the check that catches slips."""

from pathlib import Path

import pytest

from dynbench.analysis.literature import DENSE_COSTS, Quoted, literature_path, quoted_on, read_literature
from dynbench.backbones import build_backbone
from dynbench.cost import dense_macs
from dynbench.errors import UserError
from dynbench.suite.schema import BackboneSpec

TABLE_1 = [  # arXiv 2007.15151: printed GMACs, top-1 %
    (2.50, 93.75),
    (1.29, 93.62),
    (0.55, 93.02),
    (1.10, 94.60),
    (2.22, 91.99),
    (2.82, 92.97),
    (3.20, 93.99),
    (3.93, 94.70),
    (">0.87", 93.20),
    (2.13, 93.55),
    (0.91, 93.06),
    (0.33, 95.25),
    (0.19, 93.27),
    (0.06, 93.27),
]
TABLE_2 = [(4.09, 75.3, 92.2), (4.00, 69.5, 89.0), (2.97, 72.8, None), (2.89, 74.1, 92.1)]

ROW = """\
quoted:
  - method: Pruned
    source: {{paper: Somebody 2020, arxiv: "2001.00001"}}
    place: Table 3
    dataset: cifar10
    backbone: {backbone}
    unit: GFLOPs meaning GMACs
    printed: 1
    macs: {macs}
    top1: 93
"""


def from_lcnet(place: str) -> list[Quoted]:
    return [row for row in read_literature() if (row.source.arxiv, row.place) == ("2007.15151", place)]


def write(folder: Path, text: str) -> Path:
    path = folder / "quoted.yaml"
    path.write_text(text)
    return path


def test_every_row_of_the_lcnet_tables_is_there_as_printed() -> None:
    assert [(row.printed, row.top1) for row in from_lcnet("Table I")] == TABLE_1
    assert [(row.printed, row.top1, row.top5) for row in from_lcnet("Table II")] == TABLE_2


def test_macs_are_what_the_unit_says() -> None:
    per_unit = {"GFLOPs meaning GMACs": 1e9, "FLOP meaning MACs": 1, "FLOPs meaning 2 x MACs": 0.5, "MMACs": 1e6}
    checked = [row for row in read_literature() if row.unit in per_unit]
    assert len(checked) > 20
    for row in checked:
        printed = float(str(row.printed).lstrip(">"))
        assert row.macs == pytest.approx(printed * per_unit[row.unit]), row.label


def test_rows_ten_times_too_large_are_rejected_with_a_reason_and_replaced() -> None:
    rows = read_literature()
    rejected = {row.method for row in rows if not row.accepted}
    assert rejected == {"CGaP", "ResNet-110 pruned", "ResNet-56 pruned"}
    assert all(row.reason for row in rows if not row.accepted)
    own = {row.macs: row.top1 for row in rows if row.source.arxiv == "1608.08710" and row.dataset == "cifar10"}
    assert own == {9.09e7: 93.06, 2.13e8: 93.55, 1.55e8: 93.30}
    assert not rejected & {row.method for row in quoted_on("cifar10", rows)} - {"CGaP"}


def test_only_accepted_rows_of_the_data_set_are_chosen() -> None:
    rows = read_literature()
    assert {row.dataset for row in quoted_on("imagenet", rows)} == {"imagenet"}
    assert quoted_on("digits", rows) == ()
    assert all(row.accepted for row in quoted_on("cifar10", rows))


@pytest.mark.parametrize(("backbone", "macs"), [("resnet56", 1.32e8), ("resnet18", 1), ("null", 1e15)])
def test_accepted_within_the_dense_cost(tmp_path: Path, backbone: str, macs: float) -> None:
    (row,) = read_literature(write(tmp_path, ROW.format(backbone=backbone, macs=macs)))
    assert row.macs == macs


def test_a_slip_by_ten_is_caught_with_its_place_and_factor(tmp_path: Path) -> None:
    path = write(tmp_path, ROW.format(backbone="resnet56", macs=9.09e8))
    with pytest.raises(UserError, match=r"quoted.yaml:9: Pruned \(Somebody 2020\), Table 3: .*7.21 times the dense"):
        read_literature(path)


def test_an_unknown_backbone_would_go_unchecked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'no dense cost of "resnet65" on cifar10; did you mean "resnet56"'):
        read_literature(write(tmp_path, ROW.format(backbone="resnet65", macs=1e6)))


def test_a_backbone_of_ones_own_is_checked_when_its_cost_is_given(tmp_path: Path) -> None:
    text = ROW.format(backbone="own", macs=2e8)
    assert read_literature(write(tmp_path, text + "    dense_macs: 2e+8\n"))
    with pytest.raises(UserError, match="2 times the dense own"):
        read_literature(write(tmp_path, text + "    dense_macs: 1e+8\n"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("    accepted: false\n", r"quoted.yaml:2: quoted.0: a row has a reason when"),
        ("    reason: because\n", r"quoted.yaml:2: quoted.0: a row has a reason when"),
        ("    top_1: 93\n", r'quoted.yaml:11: unknown key "quoted.0.top_1"; did you mean "top1"'),
        ("    top5: 930\n", r"quoted.yaml:11: quoted.0.top5: expected a number of at most 100"),
    ],
)
def test_faults_are_said_with_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_literature(write(tmp_path, ROW.format(backbone="resnet56", macs=1e8) + line))


def test_a_rejected_row_may_be_too_dear(tmp_path: Path) -> None:
    text = ROW.format(backbone="resnet56", macs=9e8) + "    accepted: false\n    reason: ten times too large\n"
    (row,) = read_literature(write(tmp_path, text))
    assert quoted_on("cifar10", [row]) == ()


def test_the_file_is_found() -> None:
    assert literature_path().is_file()


@pytest.mark.parametrize("backbone", ["resnet18", "resnet32", "resnet50", "resnet56", "resnet110"])
def test_dense_costs_on_cifar_are_what_dynbench_counts(backbone: str) -> None:
    (known,) = (c for c in DENSE_COSTS if (c.dataset, c.backbone) == ("cifar10", backbone))
    counted = dense_macs(build_backbone(BackboneSpec(name=backbone), (3, 32, 32), 10))
    assert counted == pytest.approx(known.macs, rel=0.01)
