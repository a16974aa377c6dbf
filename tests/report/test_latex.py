"""Tables in LaTeX, and what is said of the version."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner, Result

from dynbench.cli.commands.table import table_command
from dynbench.report.latex import escaped, latex_table
from dynbench.report.layout import Row, Table, TableColumn
from tests.helpers.records import small_suite, write_fakes

ROOT = Path(__file__).parents[2]


def test_a_table_by_hand() -> None:
    table = Table("50 % & more", (TableColumn("a_b", words=True), TableColumn("c")), (Row(("x", "1 ±2"), "x"),))
    assert latex_table(table).splitlines() == [
        r"\begin{table}",
        r"\caption{50 \% \& more}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"a\_b & c \\",
        r"\midrule",
        r"x & 1 $\pm$2 \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def test_no_letter_is_a_command() -> None:
    assert escaped("\\a{b}\n#1~^<|>$") == (
        r"\textbackslash{}a\{b\} \#1\textasciitilde{}\textasciicircum{}\textless{}\textbar{}\textgreater{}\$"
    )


def test_the_command_prints_it(tmp_path: Path) -> None:
    write_fakes(tmp_path, small_suite())
    run: Callable[..., Result] = lambda *words: CliRunner().invoke(table_command, list(map(str, words)))  # noqa: E731
    printed = run(tmp_path, "--format", "latex").output
    assert printed.startswith("\\begin{table}\n\\caption{made-up: resnet20 on cifar10")
    assert printed.count(" \\\\\n") == 1 + 3 + 4 * 3 + 1
    assert run(tmp_path).output.startswith("**made-up")
    assert "leave out --format" in str(run("--into", tmp_path / "x.md", "--format", "latex").exception)


def test_what_an_archive_is_told_is_what_the_package_says() -> None:
    told = json.loads((ROOT / ".zenodo.json").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (told["version"], told["license"]) == (project["version"], project["license"])
    citation = (ROOT / "CITATION.cff").read_text()
    assert all(word in citation for word in (told["title"], f"version: {told['version']}", *told["keywords"]))
