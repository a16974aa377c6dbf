"""Options of the commands that look at backbone weights, from a file or by torchvision's name."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from math import isfinite
from pathlib import Path
from typing import Any

import click

from dynbench.suite.schema import DEVICE, BackboneSpec, DataSpec


def numbers(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[float, ...] | None:  # noqa: ARG001
    """Comma-separated, finite."""
    try:
        found = tuple(float(part) for part in text.split(",")) if text else None
    except ValueError as error:
        raise click.BadParameter("expected comma-separated numbers") from error
    if found and not all(map(isfinite, found)):
        raise click.BadParameter("expected finite numbers")
    return found


def _positive(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    found = numbers(context, parameter, text)
    if found and min(found) <= 0:
        raise click.BadParameter("expected numbers above 0")
    return found


def _width(context: click.Context, parameter: click.Parameter, width: float) -> float:  # noqa: ARG001
    if not (isfinite(width) and width > 0):
        raise click.BadParameter("expected a number above 0")
    return width


def device_name(context: click.Context, parameter: click.Parameter, text: str) -> str:  # noqa: ARG001
    """As a suite's `device`."""
    if not re.match(DEVICE, text):
        raise click.BadParameter("expected auto, cpu, cuda or cuda:N")
    return text


_PARAMETERS = (
    click.argument("weights", type=click.Path(path_type=Path)),
    click.option("--backbone", required=True, help="For example resnet32."),
    click.option("--width", default=1.0, show_default=True, callback=_width),
    click.option("--dataset", default="cifar10", show_default=True),
    click.option("--data", type=click.Path(path_type=Path), help="Folder that holds the data set."),
    click.option("--mean", callback=numbers, help="Normalisation, per channel, as 0.485,0.456,0.406."),
    click.option("--std", callback=_positive, help="Normalisation, per channel."),
    click.option("--device", default="auto", show_default=True, callback=device_name),
    click.option("--batch-size", default=500, show_default=True, type=click.IntRange(min=1)),
)


@dataclass(frozen=True)
class WeightsOptions:
    """Dense backbone weights in a file, and on what and how to evaluate them."""

    weights: Path
    backbone: BackboneSpec
    data: DataSpec
    device: str
    batch_size: int


def weights_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command gets what these options say as its first argument."""

    @wraps(command)
    def gathered(
        weights: Path,
        backbone: str,
        width: float,
        dataset: str,
        data: Path | None,
        mean: tuple[float, ...] | None,
        std: tuple[float, ...] | None,
        device: str,
        batch_size: int,
        **others: Any,
    ) -> None:
        spec = BackboneSpec(name=backbone, width=width)
        split = DataSpec(name=dataset, root=data, mean=mean, std=std)
        command(WeightsOptions(weights, spec, split, device, batch_size), **others)

    wrapped: Callable[..., Any] = gathered
    for parameter in reversed(_PARAMETERS):
        wrapped = parameter(wrapped)
    return wrapped
