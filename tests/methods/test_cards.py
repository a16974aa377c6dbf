"""Each family of methods has a card that names its methods, their parameters and the papers' figures as quoted."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from dynbench.registry import discover, load_method

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "methods" / "dynbench_methods"
FAMILIES = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))
CARDS = {**{folder.name: folder / "README.md" for folder in FAMILIES}, "dense": ROOT / "methods" / "README.md"}
QUOTED = YAML(typ="safe").load(ROOT / "results" / "literature.yaml")["quoted"]


def papers(text: str) -> set[str]:
    return set(re.findall(r"arxiv\.org/abs/([\d.]+)", text))


@pytest.mark.parametrize("family", [folder.name for folder in FAMILIES])
def test_a_card_has_its_papers_and_what_they_leave_open(family: str) -> None:
    text = CARDS[family].read_text()
    assert papers(text)
    assert re.search(r"^\*\*What (it does|they do)\.\*\*", text, re.MULTILINE)
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    for heading in ("Published figures", "Left open by", "Parameters", "Run it"):
        assert any(one.startswith(heading) for one in headings), heading


def test_every_method_and_parameter_stands_on_the_card_of_its_family() -> None:
    for name in discover():
        method = load_method(name)
        module = method.__module__.split(".")
        if module[0] != "dynbench_methods":
            continue
        text = CARDS[module[1]].read_text()
        assert f"`{name}`" in text
        assert [field for field in method.Config.model_fields if f"`{field}`" not in text] == []


@pytest.mark.parametrize("family", [folder.name for folder in FAMILIES])
def test_what_is_quoted_of_its_papers_stands_on_a_card(family: str) -> None:
    text = CARDS[family].read_text()
    own = {
        "lc_net": r"LC-Net",
        "blockdrop": r"BlockDrop",
        "pruning": r"ResNet-\d+-pruned-\w|NISP",
        "early_exit": r"BranchyNet|DG-Res",
        "laudnet": r"LAUDNet",
        "fbs": r"FBS",
    }
    rows = [row for row in QUOTED if re.match(own[family], row["method"]) and row.get("accepted", True)]
    assert rows
    cells = re.findall(r"(?<=\|) *([\d.]+) *(?=\|)", text)
    for row in rows:
        assert row["top1"] in map(float, cells), row["method"]


@pytest.mark.parametrize("card", CARDS.values(), ids=lambda path: path.parent.name)
def test_its_commands_and_links_exist(card: Path) -> None:
    text = card.read_text()
    for suite in re.findall(r"dynbench run (\S+\.yaml)", text):
        assert (ROOT / suite).is_file()
    for link in re.findall(r"\]\((?!http)([^)]+)\)", text):
        assert (card.parent / link).exists()
