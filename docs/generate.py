"""Writes the parts of the documentation that are made from the code: `python docs/generate.py`.

A part of a page stands between `<!-- made by docs/generate.py: NAME -->` and `<!-- end of NAME -->`. A test
compares every part with the code.
"""

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parent))

from keys import key_tables, model_paths, one_line
from recipe_table import recipe_table

from dynbench.analysis.columns import COLUMNS
from dynbench.cli import cli
from dynbench.contract import CHECKS
from dynbench.record.schema import Record
from dynbench.suite.schema import SuiteFile

DOCS = Path(__file__).resolve().parent
_PART = re.compile(r"(?<=<!-- made by docs/generate\.py: )([\w ]+)( -->\n).*?(<!-- end of \1 -->)", re.DOTALL)


def checks() -> str:
    """Tabulate what `dynbench test` checks."""
    return _table(("check", "what a method has to keep"), ((f"`{one.name}`", one.promise) for one in CHECKS))


def columns() -> str:
    """Tabulate the columns of the flat table."""
    header = ("column", "type", "unit", "meaning")
    return _table(header, ((f"`{one.name}`", one.dtype, one.unit, one.meaning) for one in COLUMNS))


def commands() -> str:
    """Describe every command of the command line with its options."""
    with click.Context(cli) as context:
        return "\n\n".join(_command(name, cli.get_command(context, name)) for name in cli.list_commands(context))


def _command(name: str, command: click.Command | None) -> str:
    assert command is not None
    arguments = [one.metavar or one.human_readable_name for one in command.params if isinstance(one, click.Argument)]
    usage = " ".join(("dynbench", name, *arguments))
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    rows = [(_option(one), _meaning(one)) for one in options]
    table = [_table(("option", "meaning"), rows)] if rows else []
    return "\n\n".join((f"### `{usage}`", *_paragraphs(command.help or ""), *table))


def _paragraphs(text: str) -> list[str]:
    return [one_line(part) for part in re.split(r"\n\s*\n", text.strip())]


def _option(option: click.Option) -> str:
    value = "" if option.is_flag else f" {option.metavar or _choices(option) or option.human_readable_name.upper()}"
    return " or ".join(f"`{name}{value}`" for name in option.opts)


def _choices(option: click.Option) -> str:
    return "/".join(map(str, option.type.choices)) if isinstance(option.type, click.Choice) else ""


def _meaning(option: click.Option) -> str:
    default = option.default
    shown = isinstance(default, str | int | float) and not isinstance(default, bool)
    return " ".join((one_line(option.help or ""), *([f"Default: {default}."] if shown else []))).strip()


def suite_keys() -> str:
    """Tabulate the keys of a suite file."""
    return key_tables(SuiteFile, "The top of the file")


def record_keys() -> str:
    """Tabulate the keys of a record."""
    paths = model_paths(SuiteFile.model_json_schema(), SuiteFile.__name__)
    return key_tables(Record, "The top of the file", {name: f"as `{path}` in a suite" for name, path in paths.items()})


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(one_line(cell) for cell in line)} |" for line in lines)


PARTS: Mapping[str, Callable[[], str]] = {
    "checks": checks,
    "columns": columns,
    "commands": commands,
    "suite keys": suite_keys,
    "record keys": record_keys,
    "recipes": recipe_table,
}


def generated(text: str) -> str:
    """Return the page `text` with every part made again."""
    return _PART.sub(lambda part: f"{part[1]}{part[2]}\n{PARTS[part[1]]()}\n\n{part[3]}", text)


def pages() -> Iterable[tuple[Path, str]]:
    """Give every page of docs/ that has such a part, as it should be."""
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text()
        if _PART.search(text):
            yield path, generated(text)


if __name__ == "__main__":
    for path, text in pages():
        if path.read_text() != text:
            path.write_text(text)
            click.echo(f"{path.relative_to(DOCS.parent)} was made again")
