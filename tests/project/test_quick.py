"""`tox -e quick` finds the tests of what was changed, and ends."""

from pathlib import Path

import pytest

from tests.quick import ALWAYS, Budget, chosen_tests

TREE = (
    "tests/test_cost.py",
    ALWAYS,
    "tests/latency/test_latency.py",
    "tests/methods/test_nisp.py",
    "tests/launch/test_ddp.py",
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in TREE:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("dynbench/cost.py", ["tests/test_cost.py"]),
        ("dynbench/latency/timer.py", ["tests/latency/test_latency.py", "tests/latency"]),
        ("dynbench/launch/ddp/leader.py", ["tests/launch"]),
        ("methods/dynbench_methods/pruning/nisp.py", ["tests/methods/test_nisp.py", "tests/methods"]),
        ("tests/latency/test_gone.py", []),
        ("README.md", []),
    ],
)
def test_the_tests_of_a_file_mirror_it(tree: Path, file: str, expected: list[str]) -> None:
    assert chosen_tests([file], tree) == [ALWAYS, *expected]


def test_changed_tests_come_first(tree: Path) -> None:
    files = ["dynbench/latency/timer.py", "tests/launch/test_ddp.py"]
    assert chosen_tests(files, tree) == [
        "tests/launch/test_ddp.py",
        ALWAYS,
        "tests/latency/test_latency.py",
        "tests/latency",
    ]


def test_after_its_time_it_skips() -> None:
    Budget(1000).pytest_runtest_setup(None)  # type: ignore[arg-type]
    with pytest.raises(pytest.skip.Exception, match="no time left"):
        Budget(-1).pytest_runtest_setup(None)  # type: ignore[arg-type]
