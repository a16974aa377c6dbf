"""The documentation's table from records, the papers' figures beside it, and what became of their claims."""

from pathlib import Path

import pytest

from dynbench.analysis.analysis import Analysis
from dynbench.analysis.claims import Claim, rounding
from dynbench.analysis.literature import read_literature
from dynbench.errors import UserError
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Record
from dynbench.report.headline import END, headline, replace_tables, replaced
from tests.conftest import Call
from tests.helpers.records import MODES, Fake, analysed, make_record, write_fakes

ROOT = Path(__file__).parents[2]
SCRATCH = "LC-Net (Xia et al. 2020)"
PARALLEL = "LC-Net pre-trained, parallel (Xia et al. 2020)"
SEQUENTIAL = "LC-Net pre-trained, sequential (Xia et al. 2020)"


def lc_net(top1: float, mmacs: tuple[float, ...], seed: int = 0, **given: object) -> Fake:
    return Fake("lc_net", given, seed, MODES, top1, mmacs, dense_mmacs=556, backbone="resnet18")


def started(record: Record) -> Record:
    """The record of a run that starts from trained weights."""
    run = record.run.model_copy(update={"start": {"run_id": "dense", "file": None, "sha256": None, "epochs": 0}})
    return Record.model_validate({**record.model_dump(), "run": run.model_dump(warnings=False)})


def found(*records: Record) -> dict[str, Claim]:
    (claims,) = analysed(records).claims.values()
    return {claim.quoted.label: claim for claim in claims}


def test_a_claim_is_met_by_a_point_as_good_and_as_cheap_as_printed() -> None:
    record, _ = make_record(lc_net(95.25, (334, 400, 500)))  # 0.33 GMACs are printed for anything below 0.335
    assert found(record)[SCRATCH].verdict == "met"
    record, _ = make_record(lc_net(95.25, (336, 400, 500)))
    assert found(record)[SCRATCH].verdict == "not met"
    record, _ = make_record(lc_net(95.00, (300, 310, 320)))
    assert found(record)[SCRATCH].verdict == "not met"


def test_a_claim_is_judged_by_the_mean_over_seeds() -> None:
    records = [make_record(lc_net(top1, (300, 310, 320), seed))[0] for seed, top1 in enumerate((96.0, 94.0, 94.0))]
    assert found(*records)[SCRATCH].verdict == "not met"
    assert found(records[0])[SCRATCH].verdict == "met"


def test_only_runs_from_trained_weights_answer_for_pretrained_nets_each_in_its_mode() -> None:
    scratch = make_record(lc_net(95.5, (300, 310, 320)))[0]
    pretrained = started(make_record(lc_net(93.5, (50, 250, 260), init="dense"))[0])
    verdicts = {label: claim.verdict for label, claim in found(scratch, pretrained).items()}
    assert verdicts == {SCRATCH: "met", PARALLEL: "not met", SEQUENTIAL: "met"}
    assert found(scratch)[SEQUENTIAL].verdict == "not measured"


def test_rounding_is_half_of_the_last_printed_digit() -> None:
    rows = {(row.method, row.place): row for row in read_literature()}
    assert rounding(rows["LC-Net", "Table I"]) == pytest.approx(0.005e9)
    assert rounding(rows["ResNet-56-pruned-B", "results on CIFAR-10"]) == pytest.approx(0.05e6)
    assert rounding(rows["BlockDrop", "results on CIFAR-10"]) == pytest.approx(0.25e6)  # printed as 2 x MACs


def test_the_table_shows_quoted_figures_in_columns_of_their_own_and_on_what_it_was_made() -> None:
    dense, _ = make_record(Fake(dense_mmacs=556, mmacs=(556,), backbone="resnet18"))
    gated, _ = make_record(lc_net(95.5, (300, 310, 320)))
    text = headline(analysed([dense, gated]))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert rows[0][-2:] == ["quoted top-1 %", "quoted MACs"]
    assert [row[-2:] for row in rows[2:]] == [["", ""], *3 * [["95.25", "330M"]]]
    assert "Trained in fp32 on a CPU (cpu, 2 CPU cores), PyTorch 2.11.0; 1 seed: 0." in text
    assert f"- {SCRATCH}, Table I: 95.25 % at 330M MACs: **met**" in text
    assert f"- {SEQUENTIAL}, Table I: 93.27 % at 60.0M MACs: **not measured**." in text


def test_a_backbone_without_quoted_figures_has_neither_columns_nor_claims() -> None:
    text = headline(analysed([make_record(Fake())[0], make_record(Fake(seed=1, error="broken"))[0]]))
    assert "quoted" not in text
    assert "**met**" not in text


def test_marked_tables_are_rewritten_and_the_rest_is_left_alone(tmp_path: Path, call: Call) -> None:
    write_fakes(tmp_path / "made", [Fake()])
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n\n<!-- dynbench table made -->\nold\n{END}\n\nAfter.\n")
    for _ in range(2):  # doing it again changes nothing
        assert call("table", "--into", page).exit_code == 0
        printed = call("table", tmp_path / "made").output
        assert page.read_text() == f"Before.\n\n<!-- dynbench table made -->\n\n{printed}\n{END}\n\nAfter.\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nothing", "has no line"),
        ("<!-- dynbench table made -->\n", "page.md:1: this table has no end"),
        (f"\n<!-- dynbench table a -->\n<!-- dynbench table b -->\n{END}\n", "page.md:2: this table has no end"),
    ],
)
def test_a_page_without_whole_marks_is_left_alone(text: str, problem: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(UserError, match=problem):
        replace_tables(page, str)
    assert page.read_text() == text


def test_the_tables_of_the_documentation_are_what_the_command_prints() -> None:
    """`dynbench table --into docs/results.md` makes them again."""
    page = ROOT / "docs" / "results.md"
    folders: list[Path] = []

    def table(folder: Path) -> str:
        folders.append(folder)
        return headline(Analysis.of(ResultsFolder(folder)))

    assert replaced(page.read_text(), page, table) == page.read_text()
    assert [folder.resolve() for folder in folders] == [ROOT / "results" / "reference" / "cifar10-cpu-sgd"]
