"""The built-in methods use nothing that a third party's cannot: of dynbench they import `dynbench.method` alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import dynbench.method

ROOT = Path(__file__).parents[2]
METHODS = sorted((ROOT / "methods" / "dynbench_methods").rglob("*.py"))
EXAMPLES = [
    ROOT / "tests" / "plugin" / "dynbench_early_exit.py",
    ROOT / "tests" / "helpers" / "any_gate.py",
    ROOT / "dynbench" / "scaffold" / "template" / "method.py.template",
]


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """Module and name of every import of dynbench; the name is empty where a whole module is imported."""
    source = path.read_text().replace("$class_name", "Name").replace("${class_name}", "Name")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield from ((node.module or "", alias.name) for alias in node.names)


@pytest.mark.parametrize("path", [*METHODS, *EXAMPLES], ids=lambda path: str(path.relative_to(ROOT)))
def test_it_imports_nothing_else_of_dynbench(path: Path) -> None:
    found = [(module, name) for module, name in imported(path) if module.partition(".")[0] == "dynbench"]
    assert {module for module, _ in found} <= {"dynbench.method"}
    assert {name for _, name in found} <= set(dynbench.method.__all__)


def test_what_it_hands_on_is_there() -> None:
    assert len(set(dynbench.method.__all__)) == len(dynbench.method.__all__)
    assert all(hasattr(dynbench.method, name) for name in dynbench.method.__all__)
