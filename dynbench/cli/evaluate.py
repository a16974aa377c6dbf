"""`dynbench evaluate`."""

import click

from dynbench.caveats import caveat
from dynbench.cli.weights_options import WeightsOptions, weights_options


@click.command("evaluate")
@weights_options
@click.option("--split", type=click.Choice(["validation", "test"]), default="test", show_default=True)
def command(of: WeightsOptions, split: str) -> None:
    """Evaluate dense backbone WEIGHTS (safetensors, or a torch file of tensors) on a split."""
    from dynbench.cli.units import macs  # noqa: PLC0415
    from dynbench.evaluate_weights import evaluate_weights  # noqa: PLC0415

    result = evaluate_weights(of.weights, of.backbone, of.data, split, of.device, of.batch_size)
    warning = caveat(of.data.name)
    wrong = int((~result.correct).sum())
    click.echo(
        f"{split}: {wrong} of {len(result.correct)} images wrong; top-1 {result.top1:.2f} %, error "
        f"{100 - result.top1:.2f} %, top-5 {result.top5:.2f} %, {macs(result.total_macs.mean())}MACs"
        + (f" ({of.data.name}: {warning})" if warning else "")
    )
