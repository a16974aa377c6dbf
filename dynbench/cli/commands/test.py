"""`dynbench test`."""

import sys
from collections import Counter
from math import isfinite
from typing import TYPE_CHECKING, Any

import click

from dynbench.cli.terminal import say
from dynbench.errors import UserError, did_you_mean
from dynbench.suite.read import parse_yaml, plain
from dynbench.suite.schema import BackboneSpec, Limits

if TYPE_CHECKING:
    from dynbench.contract import Outcome
    from dynbench.contract.trial import Trial


WIDTH = 16
"""Columns of a status, and of a check's name."""


def _backbones(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> list[BackboneSpec]:
    return [_backbone(text) for text in given]


def _backbone(text: str) -> BackboneSpec:
    """`resnet50` or `resnet50:0.125`."""
    name, colon, number = text.partition(":")
    try:
        width = float(number) if colon else 1.0
    except ValueError as error:
        raise click.BadParameter(f"{text}: expected NAME or NAME:WIDTH") from error
    if not (isfinite(width) and width > 0):
        raise click.BadParameter(f"{text}: the width has to be above 0")
    return BackboneSpec(name=name, width=width)


def _params(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
    """`key=value`, whose value is YAML."""
    found = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{text}: expected key=value, for example gate_lr=0.01")
        found[key] = plain(parse_yaml(value, f"--param {key}"))
    return found


@click.command("test")
@click.argument("method")
@click.option(
    "--backbone",
    "backbones",
    multiple=True,
    default=["resnet8"],
    show_default=True,
    callback=_backbones,
    metavar="NAME[:WIDTH]",
    help="May be given more than once.",
)
@click.option("--param", "params", multiple=True, callback=_params, metavar="KEY=VALUE", help="A parameter of METHOD.")
@click.option("--timeout", default=300.0, show_default=True, type=click.FloatRange(min=1), help="Seconds, a check.")
@click.option("--memory", default=8.0, show_default=True, type=click.FloatRange(min=1), help="GiB that it may take.")
def test_command(
    method: str, backbones: list[BackboneSpec], params: dict[str, Any], timeout: float, memory: float
) -> None:
    """Try METHOD on the digits: does it keep what every method has to keep?

    METHOD is a registered name, or path.py:Class.

    Exit code 0; 1 when a check is broken; 2 when METHOD cannot be tried.
    """
    from dynbench.contract.trial import Trial

    limits = Limits(silence_minutes=timeout / 60, memory_gib=memory)
    bad = [_try(Trial(method, backbone, params), limits) for backbone in backbones]
    sys.exit(1 if any(bad) else 0)


def _try(request: "Trial", limits: Limits) -> bool:
    """One backbone; True: something is broken."""
    from dynbench.backbones import BACKBONES
    from dynbench.contract.trial import try_method

    backbone = request.backbone

    if backbone.name not in BACKBONES:
        raise UserError(f'--backbone: unknown backbone "{backbone.name}"; {did_you_mean(backbone.name, BACKBONES)}')
    say(f"{request.target} on {backbone.name}{'' if backbone.width == 1 else f' x {backbone.width:g}'}, digits")
    found: list[Outcome] = []

    def tell(outcome: "Outcome") -> None:
        found.append(outcome)
        _show(outcome)

    try_method(request, limits, tell)
    counts = Counter(outcome.status for outcome in found)
    say(", ".join(f"{count} {status}" for status, count in counts.items()))
    return any(outcome.bad for outcome in found)


def _show(outcome: "Outcome") -> None:
    status = outcome.status.upper() if outcome.status == "broken" else outcome.status
    say(f"  {status:{WIDTH}}{outcome.check:{WIDTH}}{outcome.promise}")
    if outcome.words:
        say(f"  {'':{2 * WIDTH}}{outcome.words}")
    for frame in outcome.frames:
        say(f"  {'':{2 * WIDTH}}at {frame}")
