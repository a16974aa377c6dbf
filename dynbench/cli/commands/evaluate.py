"""`dynbench evaluate`."""

import click

from dynbench.analysis.words import short_macs
from dynbench.cli.options import WeightsOptions, weights_options
from dynbench.cli.terminal import say
from dynbench.data.catalogue import caveat


@click.command("evaluate")
@weights_options
@click.option("--split", type=click.Choice(["validation", "test"]), default="test", show_default=True)
def evaluate_command(of: WeightsOptions, split: str) -> None:
    """Evaluate dense backbone WEIGHTS (safetensors, or a torch file of tensors) on a split."""
    from dynbench.evaluation.reevaluate import evaluate_weights

    result = evaluate_weights(of.weights, of.backbone, of.data, split, of.device, of.batch_size)
    warning = caveat(of.data.name)
    wrong = int((~result.correct).sum())
    say(
        f"{split}: {wrong} of {len(result.correct)} images wrong; top-1 {result.top1:.2f} %, error "
        f"{100 - result.top1:.2f} %, top-5 {result.top5:.2f} %, {short_macs(result.total_macs.mean())} MACs"
        + (f" ({of.data.name}: {warning})" if warning else "")
    )
