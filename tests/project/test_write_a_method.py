"""docs/write-a-method.md says what there is."""

import re
from pathlib import Path

from dynbench.cli import COMMANDS
from dynbench.contract import CHECKS
from dynbench.scaffold.write import new_package

DOC = (Path(__file__).parents[2] / "docs" / "write-a-method.md").read_text()


def commands() -> list[str]:
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", DOC, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_every_check_is_listed_with_its_promise() -> None:
    (made,) = re.findall("made by docs/generate.py: checks -->(.*?)<!-- end of checks", DOC, re.DOTALL)
    rows = re.findall(r"^\| `([\w ]+)` \| (.*) \|$", made, re.MULTILINE)
    assert rows == [(check.name, check.promise) for check in CHECKS]


def test_its_commands_exist() -> None:
    named = [line.split()[1] for line in commands() if line.startswith("dynbench")]
    assert set(named) == {"new", "test", "methods", "run"}
    assert set(named) <= COMMANDS.keys()


def test_the_files_and_the_line_that_it_names_are_written(tmp_path: Path) -> None:
    written = {str(path.relative_to(tmp_path / "my_method")) for path in new_package("my_method", tmp_path)}
    assert written == set(re.findall(r"^\| `([\w./]+\.\w+)` \|", DOC, re.MULTILINE))
    (changed,) = re.findall(r"```python\n    (return .*)\n```", DOC)
    line = changed.removesuffix(" * early.softmax(1).amax()")
    assert f"    {line}\n" in (tmp_path / "my_method" / "my_method.py").read_text()
