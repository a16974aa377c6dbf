"""`dynbench evaluate`."""

import re
from math import isfinite
from pathlib import Path

import click

from dynbench.suite.schema import DEVICE, BackboneSpec, DataSpec


def _numbers(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[float, ...] | None:  # noqa: ARG001
    try:
        numbers = tuple(float(part) for part in text.split(",")) if text else None
    except ValueError as error:
        raise click.BadParameter("expected comma-separated numbers") from error
    if numbers and not all(map(isfinite, numbers)):
        raise click.BadParameter("expected finite numbers")
    return numbers


def _positive(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    numbers = _numbers(context, parameter, text)
    if numbers and min(numbers) <= 0:
        raise click.BadParameter("expected numbers above 0")
    return numbers


def _width(context: click.Context, parameter: click.Parameter, width: float) -> float:  # noqa: ARG001
    if not (isfinite(width) and width > 0):
        raise click.BadParameter("expected a number above 0")
    return width


def _device(context: click.Context, parameter: click.Parameter, text: str) -> str:  # noqa: ARG001
    if not re.match(DEVICE, text):
        raise click.BadParameter("expected auto, cpu, cuda or cuda:N")
    return text


@click.command("evaluate")
@click.argument("weights", type=click.Path(path_type=Path))
@click.option("--backbone", required=True, help="For example resnet32.")
@click.option("--width", default=1.0, show_default=True, callback=_width)
@click.option("--dataset", default="cifar10", show_default=True)
@click.option("--data", type=click.Path(path_type=Path), help="Folder that holds the data set.")
@click.option("--split", type=click.Choice(["validation", "test"]), default="test", show_default=True)
@click.option("--mean", callback=_numbers, help="Normalisation, per channel, as 0.485,0.456,0.406.")
@click.option("--std", callback=_positive, help="Normalisation, per channel.")
@click.option("--device", default="auto", show_default=True, callback=_device)
@click.option("--batch-size", default=500, show_default=True, type=click.IntRange(min=1))
def command(
    weights: Path,
    backbone: str,
    width: float,
    dataset: str,
    data: Path | None,
    split: str,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    device: str,
    batch_size: int,
) -> None:
    """Evaluate dense backbone WEIGHTS (safetensors, or a torch file of tensors) on a split."""
    from dynbench.cli.units import macs  # noqa: PLC0415
    from dynbench.evaluate_weights import evaluate_weights  # noqa: PLC0415

    result = evaluate_weights(
        weights,
        BackboneSpec(name=backbone, width=width),
        DataSpec(name=dataset, root=data, mean=mean, std=std),
        split,
        device,
        batch_size,
    )
    wrong = int((~result.correct).sum())
    click.echo(
        f"{split}: {wrong} of {len(result.correct)} images wrong; top-1 {result.top1:.2f} %, error "
        f"{100 - result.top1:.2f} %, top-5 {result.top5:.2f} %, {macs(result.total_macs.mean())}MACs"
    )
