"""`dynbench evaluate`."""

from pathlib import Path

import click

from dynbench.cli.weights_options import weights_options
from dynbench.suite.schema import BackboneSpec, DataSpec


@click.command("evaluate")
@weights_options
@click.option("--split", type=click.Choice(["validation", "test"]), default="test", show_default=True)
def command(
    weights: Path,
    backbone: str,
    width: float,
    dataset: str,
    data: Path | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    device: str,
    batch_size: int,
    split: str,
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
