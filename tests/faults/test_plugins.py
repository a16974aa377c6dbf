"""What a plugin does costs a line, or its own run, whatever it does and whenever."""

from pathlib import Path

import pytest

from dynbench.record.folder import ResultsFolder
from tests.helpers.command import dynbench, is_told, plugins

SUITE = """\
name: strange
data: digits
backbones: [{name: resnet8, width: 0.25}]
recipe: {epochs: 1, batch_size: 256}
methods: [METHODS]
tracking: none
latency: none
limits: {planning_minutes: 0.5}
"""
BASE = "import os, time, shutil\nfrom dynbench.errors import UserError\nfrom dynbench_methods.dense import Dense\n"


def method(line: str, of: str = "build(self, backbone)", then: str = "return super().build(backbone)") -> str:
    return f"{BASE}class M(Dense):\n    def {of}:\n        {line}\n        {then}\n"


UNPLANNED = {
    "import_hangs": ("import time\ntime.sleep(1000)\n", "does not import: no sign of progress for 0.5 minutes"),
    "import_exits": ("import os\nos._exit(9)\n", "does not import: its process ended by itself, with exit code 9"),
    "import_blames": (f"{BASE}raise UserError('mine')\n", "does not import: UserError: mine"),
    "start_exits": (method("os._exit(3)", "start(self)"), "cannot be planned: its process ended by itself"),
    "start_blames": (method("raise UserError('mine')", "start(self)"), 'method "start_blames": mine'),
}
FAILING = {
    "long": (method("raise ValueError('x' * 10_000_000)"), "ValueError: xxx"),
    "blames": (method("raise UserError('not\\nmine')"), "UserError: not mine"),
    "closes": (method("os.closerange(3, 300); time.sleep(1000)"), "its process stopped talking with dynbench"),
}
DELETES = method("shutil.rmtree(os.environ['VICTIM'])")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("site") / "packages"
    sources = {name: source for name, (source, _) in (UNPLANNED | FAILING).items()} | {"deletes": DELETES}
    with plugins(folder, **sources) as environment:
        return environment


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    return tmp_path / "strange.yaml"


@pytest.mark.parametrize("name", ["import_hangs", "start_exits"])
def test_one_that_cannot_be_planned_is_named(name: str, suite: Path, installed: dict[str, str]) -> None:
    suite.write_text(SUITE.replace("METHODS", f"dense, {name}"))
    ended = dynbench("plan", suite, **installed)
    assert (ended.code, len(ended.errors)) == (2, 1), ended.err
    assert f'strange.yaml:5: method "{name}"' in ended.err
    assert UNPLANNED[name][1] in ended.err


def test_each_that_cannot_be_imported_is_named_and_the_others_are_listed(installed: dict[str, str]) -> None:
    ended = dynbench("methods", "--timeout", 40, **installed)
    assert ended.code == 2
    assert is_told(ended)
    assert len(ended.errors) == 3
    for name in ("import_exits", "import_blames"):
        assert UNPLANNED[name][1] in ended.err
    assert "import_hangs" in ended.err
    assert {"dense", "lc_net", "long"} <= {line.split("  ")[0] for line in ended.out.splitlines()}


def test_one_that_fails_costs_its_own_run_and_says_so_briefly(
    suite: Path, tmp_path: Path, installed: dict[str, str]
) -> None:
    suite.write_text(SUITE.replace("METHODS", ", ".join(["dense", *FAILING])))
    results = tmp_path / "results"
    ended = dynbench("run", suite, "--results", results, **installed)
    assert ended.code == 1
    assert is_told(ended)
    found = {record.run.method: record for record in ResultsFolder(results).records()}
    assert found.pop("dense").status == "finished"
    assert {name: (found[name].error or "").startswith(words) for name, (_, words) in FAILING.items()} == dict.fromkeys(
        FAILING, True
    )
    assert all(path.stat().st_size < 50_000 for path in results.glob("records/*.json"))
    assert len(ended.out) < 20_000


def test_one_that_deletes_what_others_made_is_found_out(suite: Path, tmp_path: Path, installed: dict[str, str]) -> None:
    suite.write_text(SUITE.replace("METHODS", "dense, deletes"))
    results = tmp_path / "results"
    ended = dynbench("run", suite, "--results", results, VICTIM=str(results / "records"), **installed)
    assert ended.code == 1
    assert is_told(ended)
    (line,) = (line for line in ended.errors if line.startswith("lost: "))
    assert line.startswith("lost: dense-resnet8-s0-")
    assert [record.run.method for record in ResultsFolder(results).records()] == ["deletes"]
