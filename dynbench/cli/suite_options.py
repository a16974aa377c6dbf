"""The options that `run` and `plan` share: a suite file and what to change in it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from ruamel.yaml.comments import CommentedSeq

from dynbench.errors import UserError
from dynbench.plan import Suite
from dynbench.registry import did_you_mean
from dynbench.suite.locate import Place
from dynbench.suite.read import parse_setting, parse_yaml, place_of, plain, read_text, set_value, validate

_OPTIONS = (
    click.argument("suite", type=click.Path(path_type=Path)),
    click.option("--device", help="auto, cpu, cuda or cuda:N."),
    click.option("--seeds", help="Comma-separated, for example 0,1,2."),
    click.option("--methods", help="Comma-separated; only these of the suite's methods."),
    click.option("--epochs", type=click.IntRange(min=1), help="Epochs of the recipe."),
    click.option("--data", type=click.Path(path_type=Path), help="Folder that holds the data set."),
    click.option("--results", type=click.Path(path_type=Path), help="Results folder [results/runs/SUITE]."),
    click.option("--tracking", help="mlflow or none."),
    click.option("--tracking-uri", help="MLflow tracking URI."),
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any key, as recipe.batch_size=64."),
)

_KEYS = {
    "device": "device",
    "seeds": "seeds",
    "epochs": "recipe.epochs",
    "data": "data.root",
    "tracking": "tracking.backend",
    "tracking_uri": "tracking.uri",
}
"""What an option sets."""


def suite_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the suite argument and the common overrides."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_suite(path: Path, **options: Any) -> Suite:
    """The suite at `path` with the command line's overrides. Raises UserError with file:line."""
    document = parse_yaml(read_text(path), str(path))
    changed = _override(document, options) if isinstance(document, dict) and document else {}
    file, locator = validate(document, str(path), changed)
    return Suite(file, locator)


def _override(document: Any, options: dict[str, Any]) -> dict[Place, str]:
    """Change the document as the options say; returns which option set which place."""
    if options.get("methods") is not None:
        document["methods"] = _chosen(document.get("methods"), options["methods"])
    changed = {}
    for option, place, value in _changes(options):
        set_value(document, place, value, option)
        changed[place] = option
    return changed


def _changes(options: dict[str, Any]) -> Iterator[tuple[str, Place, Any]]:
    """(option, place, value) of everything that the options set. `--set data=cifar10` does not undo `--data`."""
    for setting in options.get("settings") or ():
        place, value = parse_setting(setting)
        yield f"--set {setting}", place, value
    for name, key in _KEYS.items():
        value = options.get(name)
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            yield option, place_of(key), _seeds(value) if name == "seeds" else value


def _seeds(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"--seeds {text}: expected whole numbers, for example 0,1,2") from error


def _chosen(entries: Any, text: str) -> Any:
    """The suite's entries for the named methods, with the lines they stand on."""
    if not isinstance(entries, CommentedSeq):
        return entries
    wanted = [name.strip() for name in text.split(",")]
    names = [entry.get("name") if isinstance(entry, dict) else entry for entry in map(plain, entries)]
    for name in wanted:
        if name not in names:
            raise UserError(f'--methods {text}: the suite has no "{name}"; {did_you_mean(name, map(str, names))}')
    chosen = [index for index, name in enumerate(names) if name in wanted]
    kept = CommentedSeq(entries[index] for index in chosen)
    for index, before in enumerate(chosen):
        kept.lc.add_idx_line_col(index, entries.lc.data[before])
    return kept


def results_folder(suite: Suite, results: Path | None) -> Path:
    """Where the suite's results go."""
    return results or Path("results") / "runs" / suite.file.name
