"""The pages of docs/ say what the code says, lead somewhere, and hold examples that work."""

import re
import runpy
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from dynbench import method
from dynbench.analysis.columns import COLUMNS
from dynbench.cli import COMMANDS
from dynbench.contract import CHECKS
from dynbench.suite.read import parse_yaml, validate
from dynbench.suite.recipe import Muon, Recipe
from dynbench.suite.schema import SuiteFile

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
SCRIPT = runpy.run_path(str(DOCS / "generate.py"))
generated: Callable[[str], str] = SCRIPT["generated"]
PARTS: dict[str, Callable[[], str]] = SCRIPT["PARTS"]


def text(name: str) -> str:
    return (DOCS / f"{name}.md").read_text()


def blocks(language: str, page: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_pages_match_the_code() -> None:
    """`python docs/generate.py` makes those again that do not."""
    pages: Iterable[tuple[Path, str]] = SCRIPT["pages"]()
    made = dict(pages)
    assert {path.stem for path in made} == {"commands", "recipes", "records", "suites", "write-a-method"}
    assert [path.name for path, expected in made.items() if path.read_text() != expected] == []
    assert sorted(re.findall("<!-- end of (.*) -->", "".join(made.values()))) == sorted(PARTS)


def test_every_key_column_check_and_command_is_on_its_page() -> None:
    for model in (SuiteFile, Recipe, Muon):
        assert [key for key in model.model_fields if f"| `{key}` | " not in text("suites")] == []
    assert [one.name for one in COLUMNS if f"| `{one.name}` | {one.dtype} | " not in text("records")] == []
    assert [one.name for one in CHECKS if f"| `{one.name}` | {one.promise} |" not in text("write-a-method")] == []
    assert [name for name in COMMANDS if f"### `dynbench {name}" not in text("commands")] == []


def test_a_key_has_its_type_bounds_default_and_meaning() -> None:
    keys = PARTS["suite keys"]()
    assert "| `warmup_epochs` | number from 0 | `0.0` | Linear warm-up of the learning rate, in epochs. |" in keys
    assert "| `name` | `muon` | required |" in keys
    assert "| `epochs` | whole number above 0 | required |" in keys
    assert "| `latency` | keys of `latency` or `null` | its keys' defaults |" in keys


def test_a_page_that_is_out_of_date_is_noticed() -> None:
    assert generated(text("records").replace("| `suite` |", "| `sweet` |", 1)) == text("records")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", prose)
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_page_is_in_the_menu() -> None:
    entries = "".join(re.findall(r"```{toctree}\n(.*?)```", text("index"), re.DOTALL)).split()
    pages = {page.relative_to(DOCS).with_suffix("").as_posix() for page in DOCS.glob("*.md")} - {"index"}
    assert [page for page in pages if not any(Path(page).match(entry) for entry in entries)] == []


def test_pages_from_elsewhere_link_to_pages_of_the_site() -> None:
    links = runpy.run_path(str(DOCS / "repository_links.py"))
    card, page = ROOT / "methods/dynbench_methods/pruning/README.md", links["GENERATED"] / "methods/pruning.md"
    index = DOCS / "index.md"
    source = "[a](../../../docs/results.md#b) ![c](../../../LICENSE) [d](../../../pyproject.toml) [e](https://f.org)"
    on_the_site = links["on_the_site"]
    assert on_the_site(source, card, page) == "[a](../../results.md#b) ![c](../../../LICENSE) d [e](https://f.org)"
    assert on_the_site("[a](../README.md) [b](suites.md)", index, index) == "[a](index.md) [b](suites.md)"
    assert on_the_site(f"[a](../{card.relative_to(ROOT)})", index, index) == "[a](included/methods/pruning.md)"
    with pytest.raises(FileNotFoundError, match=r"pruning/README\.md links to nowhere\.md"):
        on_the_site("[x](nowhere.md)", card, page)


def test_the_suite_example_is_valid() -> None:
    (example,) = blocks("yaml", text("suites"))
    suite, _ = validate(parse_yaml(example, "suites.md"), "suites.md")
    assert [entry.name for entry in suite.methods] == ["dense", "dense", "lc_net", "lc_net"]


@pytest.mark.parametrize("path", sorted((ROOT / "suites").glob("*.yaml")), ids=lambda path: path.name)
def test_every_suite_is_named_and_valid(path: Path) -> None:
    assert f"| `{path.name}` |" in text("suites")
    suite, _ = validate(parse_yaml(path.read_text(), path.name), path.name)
    assert suite.name == path.stem


def test_the_blocks_that_blockdrop_keeps_are_those_of_its_record(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    (example,) = [block for block in blocks("python", text("results")) if "cifar10-blockdrop" in block]
    exec(example, {})
    printed = capsys.readouterr().out.removesuffix(" are kept\n")
    assert f"It keeps {printed} on the mean" in text("results")


def test_the_plugin_stands_once() -> None:
    """The page shows the files that a test installs, and no other page holds them."""
    for name in ("dynbench_early_exit.py", "pyproject.toml"):
        assert f"```{{literalinclude}} ../tests/plugin/{name}\n" in text("write-a-method")
    assert [page.name for page in PAGES if "class EarlyExit(" in page.read_text()] == []


def test_the_interface_is_on_the_api_page() -> None:
    assert ".. automodule:: dynbench.method\n   :imported-members:" in text("api")
    assert [name for name in method.__all__ if not hasattr(method, name)] == []


def test_the_citation_is_of_this_version() -> None:
    citation = YAML(typ="safe").load(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= citation.keys()
    assert f'\nversion = "{citation["version"]}"\n' in (ROOT / "pyproject.toml").read_text()
