"""`dynbench sensitivity`."""

import sys
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dynbench.cli.options import WeightsOptions, numbers, weights_options
from dynbench.cli.terminal import say

if TYPE_CHECKING:
    from dynbench.evaluation.layer_sensitivity import Scan


RATIOS = "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9"


def _ratios(context: click.Context, parameter: click.Parameter, text: str) -> tuple[float, ...]:
    found = numbers(context, parameter, text) or ()
    if not found or min(found) <= 0 or max(found) >= 1:
        raise click.BadParameter("expected numbers between 0 and 1")
    return tuple(sorted(set(found)))


@click.command("sensitivity")
@weights_options
@click.option("--ratios", default=RATIOS, show_default=True, callback=_ratios, help="Shares of a layer's filters.")
@click.option("--images", type=click.IntRange(min=1), help="Only this many validation images, the first ones.")
@click.option("--tolerance", default=1.0, show_default=True, help="Points of accuracy, for the table.")
@click.option(
    "--output", type=click.Path(path_type=Path), default="sensitivity", show_default=True, help="Without suffix."
)
def sensitivity_command(
    of: WeightsOptions, ratios: tuple[float, ...], images: int | None, tolerance: float, output: Path
) -> None:
    """Remove filters from one layer of dense backbone WEIGHTS at a time and evaluate, without retraining.

    Which layers to prune little. Looks at the validation split only; writes OUTPUT.csv, OUTPUT.png and OUTPUT.svg.
    """
    from dynbench.evaluation.layer_sensitivity import scan_weights

    with click.progressbar(length=1000, label="scanning", file=sys.stderr) as bar:

        def on_batch(done: int, total: int) -> None:
            bar.update(1000 * done // total - bar.pos)

        scan = scan_weights(of.weights, of.backbone, of.data, ratios, of.device, of.batch_size, images, on_batch)
    for line in summary(scan, tolerance):
        say(line)
    title = f"{of.backbone.name}, {of.weights.name}: filters of smallest L1 norm removed, not retrained"
    for path in _write(scan, output, title):
        say(f"wrote {path}")


def summary(scan: "Scan", tolerance: float) -> list[str]:
    """Return for each layer the ratio up to which none costs more than `tolerance`, and the accuracy at the largest."""
    head = f"whole: top-1 {scan.whole:.2f} % on {scan.images} validation images"
    last = f"top-1 at {scan.ratios[-1]:g}"
    lines = [head, f"{'layer':>5}  {'name':<16}{'filters':>7}  {f'up to (-{tolerance:g})':>12}  {last:>12}"]
    for layer in scan.layers:
        measured = zip(scan.ratios, layer.top1, strict=True)
        bearable = [ratio for ratio, _ in takewhile(lambda one: scan.whole - one[1] <= tolerance, measured)]
        most = f"{bearable[-1]:g}" if bearable else "none"
        lines.append(f"{layer.number:>5}  {layer.layer:<16}{layer.filters:>7}  {most:>12}  {layer.top1[-1]:>12.2f}")
    return lines


def _write(scan: "Scan", output: Path, title: str) -> list[Path]:
    from dynbench.evaluation.layer_sensitivity import write_csv
    from dynbench.report.plots.sensitivity_lines import sensitivity_figure
    from dynbench.report.plots.style import save, styled

    table = write_csv(scan, output.with_suffix(".csv"))
    with styled():
        figure = sensitivity_figure(scan, title)
    return [table, *save(figure, output)]
