"""The house rules that no linter knows: one definition of a name, files of a size that can be read."""

import ast
import re
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [path for part in ("dynbench", "methods") for path in sorted((ROOT / part).rglob("*.py"))]
LONGEST, SHORT, SHORT_SHARE, TOP = 320, 40, 0.15, 14


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_no_public_class_or_function_is_defined_twice() -> None:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_few_modules_stand_at_the_top() -> None:
    assert len(list((ROOT / "dynbench").glob("*.py"))) <= TOP


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_can_be_read_in_one_go(path: Path) -> None:
    assert lines(path) <= LONGEST


def test_few_files_are_a_function_or_two() -> None:
    """Of those that hold code: most packages' `__init__.py` is a sentence on what is in the folder."""
    files = [path for path in FILES if path.name != "__init__.py"]
    short = [str(path.relative_to(ROOT)) for path in files if lines(path) < SHORT]
    assert len(short) < SHORT_SHARE * len(files), short


def test_the_table_of_layers_is_that_of_the_linter() -> None:
    """Every layer stands in docs/architecture.md, in the order in which imports may point."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    rows = config["tool"]["importlinter"]["contracts"][0]["layers"]
    layers = [name for row in rows for name in row.split(" | ")]
    document = (ROOT / "docs/architecture.md").read_text().partition("## Five nouns")[0]
    cells = re.findall(r"^\| ((?:`[a-z_]+(?:/|\.py)`(?:, )?)+) \|", document, re.MULTILINE)
    named = [name for cell in cells for name in re.findall(r"`([a-z_]+)", cell)]
    assert named == layers
