"""The options that `run` and `plan` share: a suite file and what to change in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from dynbench.errors import UserError
from dynbench.plan import Suite
from dynbench.registry import did_you_mean
from dynbench.suite.read import apply_settings, parse_yaml, plain, read_text, set_value, validate

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


def suite_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the suite argument and the common overrides."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_suite(path: Path, **options: Any) -> Suite:
    """The suite at `path` with the command line's overrides. Raises UserError with file:line."""
    document = parse_yaml(read_text(path), str(path))
    if isinstance(document, dict):
        _override(document, options)
    file, locator = validate(document, str(path))
    return Suite(file, locator)


def _override(document: Any, options: dict[str, Any]) -> None:
    simple = {
        "device": "device",
        "data": "data.root",
        "epochs": "recipe.epochs",
        "tracking": "tracking.backend",
        "tracking_uri": "tracking.uri",
    }
    for key in ("data", "tracking"):
        name = "name" if key == "data" else "backend"
        if isinstance(document.get(key), str):  # the short form
            document[key] = {name: document[key]}
    for option, key in simple.items():
        value = options.get(option)
        if value is not None:
            set_value(document, key, str(value) if isinstance(value, Path) else value)
    if options.get("seeds"):
        document["seeds"] = _seeds(options["seeds"])
    if options.get("methods"):
        document["methods"] = _chosen(document.get("methods"), options["methods"])
    apply_settings(document, options.get("settings") or ())


def _seeds(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"--seeds {text}: expected whole numbers, for example 0,1,2") from error


def _chosen(entries: Any, text: str) -> Any:
    """The suite's entries for the named methods."""
    wanted = [name.strip() for name in text.split(",")]
    entries = entries if isinstance(entries, list) else []
    names = [entry.get("name") if isinstance(entry, dict) else entry for entry in map(plain, entries)]
    for name in wanted:
        if name not in names:
            raise UserError(f'--methods: the suite has no "{name}"; {did_you_mean(name, map(str, names))}')
    for index in reversed(range(len(names))):
        if names[index] not in wanted:
            del entries[index]  # in place: the entries keep their lines
    return entries


def results_folder(suite: Suite, results: Path | None) -> Path:
    """Where the suite's results go."""
    return results or Path("results") / "runs" / suite.file.name
