"""README's examples are the code that is tested."""

import re
from pathlib import Path

import pytest

from dynbench.suite.read import parse_yaml, validate

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_two_commands_do_all_the_set_up() -> None:
    run, test, *_ = blocks("sh")
    assert run.strip().count("\n") == 0
    assert "dynbench run suites/quickstart.yaml" in run
    assert test.strip().endswith("tox")


@pytest.mark.parametrize("name", ["dynbench_early_exit.py", "pyproject.toml"])
def test_the_plugin_is_the_one_that_a_test_installs(name: str) -> None:
    source = (ROOT / "tests" / "plugin" / name).read_text()
    assert source in blocks("python") + blocks("toml")


def test_the_suite_example_is_valid() -> None:
    (example,) = blocks("yaml")
    suite, _ = validate(parse_yaml(example, "README.md"), "README.md")
    assert [entry.name for entry in suite.methods] == ["dense", "dense", "lc_net", "lc_net"]


@pytest.mark.parametrize("path", sorted((ROOT / "suites").glob("*.yaml")), ids=lambda path: path.name)
def test_every_suite_is_named_in_readme_and_valid(path: Path) -> None:
    assert f"`{path.name}`" in README
    suite, _ = validate(parse_yaml(path.read_text(), path.name), path.name)
    assert suite.name == path.stem


def test_the_blocks_that_blockdrop_keeps_are_those_of_its_record(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    (example,) = [block for block in blocks("python") if "cifar10-blockdrop" in block]
    exec(example, {})
    printed = capsys.readouterr().out.removesuffix(" are kept\n")
    assert f"It keeps {printed} on the mean" in README
