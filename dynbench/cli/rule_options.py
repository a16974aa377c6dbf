"""Rules from the command line and from a suite: what `check` and `baseline` share."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from dynbench.errors import UserError

_OPTIONS = (
    click.option("--suite", type=click.Path(path_type=Path), help="Take the rules under `check:` of this suite."),
    click.option(
        "--rule", "rules", multiple=True, metavar="METRIC=LIMIT", help="As test_top1=-0.5pt; METRIC=none drops a rule."
    ),
)


def rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say what is compared, and how strictly."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def chosen_rules(base: Mapping[str, str], suite: Path | None, rules: Sequence[str]) -> dict[str, str]:
    """`base`, overridden by the suite, overridden by the command line, metric by metric. Raises UserError."""
    from dynbench.cli.suite_options import read_suite  # noqa: PLC0415

    texts: dict[str, str] = {**base, **(read_suite(suite).file.check.given if suite else {})}
    for rule in rules:
        name, equals, text = rule.partition("=")
        if not equals:
            raise UserError(f"--rule {rule}: expected METRIC=LIMIT, for example test_top1=-0.5pt")
        texts[name.strip()] = text.strip()
    return {name: text for name, text in texts.items() if text != "none"}
