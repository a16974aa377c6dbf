"""README is short, its two commands do all the set-up, and its method is one that dynbench takes."""

import re
from importlib.metadata import entry_points
from pathlib import Path

from dynbench.cli.options import read_suite
from tests.conftest import Call

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
LONGEST, METHOD, TERMINAL = 130, 15, 80


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_it_is_read_in_a_minute_or_two() -> None:
    assert len(README.splitlines()) <= LONGEST


def test_two_commands_do_all_the_set_up() -> None:
    run, test, *_ = blocks("sh")
    assert run.strip().count("\n") == 0
    assert "dynbench run suites/quickstart.yaml" in run
    assert test.strip().endswith("tox")


def test_the_quickstart_has_every_built_in_family() -> None:
    """A family is a folder of methods/."""
    built_in = [one for one in entry_points(group="dynbench.methods") if one.module.startswith("dynbench_methods.")]
    families = {one.name: one.module.split(".")[1] for one in built_in}
    suite = read_suite(ROOT / "suites" / "quickstart.yaml")
    assert {families[entry.name] for entry in suite.file.methods} == set(families.values())


def test_the_output_that_it_shows_fits_a_terminal() -> None:
    (output,) = blocks("text")
    assert "resnet8 on digits" in output
    assert max(map(len, output.splitlines())) <= TERMINAL


def test_a_method_in_fifteen_lines_keeps_the_contract(call: Call, tmp_path: Path) -> None:
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line]) <= METHOD
    (tmp_path / "low_contrast.py").write_text(code)
    result = call("test", f"{tmp_path / 'low_contrast.py'}:LowContrast")
    assert result.exit_code == 0, result.output
    assert "21 kept, 5 does not apply" in result.output
