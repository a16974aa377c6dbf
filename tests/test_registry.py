"""Finding methods: fake .dist-info folders on sys.path, nothing is installed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dynbench import registry
from dynbench.errors import UserError
from dynbench.registry import discover, find, load_method
from tests.conftest import Call

Install = Callable[[str, str, str], None]

WHOLE = """
from dynbench.method import Method, Output

class Whole(Method):
    "Runs everything."
    name = "whole"

    def build(self, backbone):
        return backbone

    def infer(self, model, x, points):
        return [Output(model(x)) for _ in points]

class HalfDone(Method):
    name = "half"

    def build(self, backbone):
        return backbone

NUMBER = 3
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """`install(distribution, method, "module:attribute")`: registered, as an installed package would be."""
    (tmp_path / "fake_plugin.py").write_text(WHOLE)
    monkeypatch.syspath_prepend(str(tmp_path))
    caches = (discover, load_method)

    def add(distribution: str, method: str, target: str) -> None:
        folder = tmp_path / f"{distribution}-1.5.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n")
        (folder / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{method} = {target}\n")
        for cached in caches:
            cached.cache_clear()

    yield add
    for cached in caches:
        cached.cache_clear()


def problem(name: str) -> str:
    with pytest.raises(UserError) as caught:
        load_method(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_builtin_methods_come_through_the_entry_points() -> None:
    assert {"dense", "l_net", "c_net", "lc_net", "filter_pruning", "nisp"} <= set(discover())
    assert find("lc_net").distribution.startswith("dynbench ")
    assert load_method("lc_net").name == "lc_net"


def test_a_plugin_is_found_with_its_distribution_and_loaded(install: Install) -> None:
    install("fake_dist", "whole", "fake_plugin:Whole")
    assert find("whole").distribution == "fake_dist 1.5"
    assert load_method("whole").name == "whole"
    assert "dense" in discover()


def test_finding_imports_nothing(install: Install) -> None:
    install("fake_dist", "absent", "no_such_module:Whole")
    assert find("absent").name == "absent"


def test_unknown_methods_name_the_nearest(install: Install) -> None:
    install("fake_dist", "whole", "fake_plugin:Whole")
    assert problem("hole").startswith('unknown method "hole"; did you mean "whole"? (known: blockdrop, c_net, dense,')
    assert problem("zzz").startswith('unknown method "zzz"; (known: blockdrop, c_net, dense,')


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (
            "no_such_module:Whole",
            "method \"odd\" of fake_dist 1.5 does not import: ModuleNotFoundError: No module named 'no_such_module'",
        ),
        (
            "fake_plugin:Absent",
            "method \"odd\" of fake_dist 1.5 does not import: AttributeError: module 'fake_plugin' has no attribute",
        ),
        ("fake_plugin:NUMBER", 'method "odd" of fake_dist 1.5 is not a subclass of dynbench.method.Method'),
        ("pathlib:Path", 'method "odd" of fake_dist 1.5 is not a subclass of dynbench.method.Method'),
        ("fake_plugin:HalfDone", 'method "odd" of fake_dist 1.5 does not define infer'),
    ],
)
def test_entry_points_that_are_no_method(install: Install, target: str, expected: str) -> None:
    install("fake_dist", "odd", target)
    assert problem("odd").startswith(expected)


def test_a_module_that_fails_with_many_lines_is_told_in_one(install: Install, tmp_path: Path) -> None:
    (tmp_path / "failing_plugin.py").write_text("raise RuntimeError('first\\nsecond')\n")
    install("fake_dist", "odd", "failing_plugin:Whole")
    assert problem("odd").endswith("does not import: RuntimeError: first second")


def test_two_packages_may_not_claim_one_name(install: Install) -> None:
    install("first_dist", "dense", "fake_plugin:Whole")
    with pytest.raises(UserError, match=r'method "dense" is registered by .* and by .*; uninstall one of them'):
        find("dense")


def test_methods_lists_what_works_and_says_what_does_not(call: Call, install: Install) -> None:
    install("fake_dist", "whole", "fake_plugin:Whole")
    install("other_dist", "odd", "fake_plugin:NUMBER")
    result = call("methods")
    assert result.exit_code == 2
    assert result.stderr == 'error: method "odd" of other_dist 1.5 is not a subclass of dynbench.method.Method\n'
    assert "whole  (fake_dist 1.5)\n    Runs everything.\n" in result.stdout
    assert "    gate_lr: float | None = None\n" in result.stdout
