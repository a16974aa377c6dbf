"""`dynbench audit`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dynbench.cli.options import device_name
from dynbench.data import load_data
from dynbench.errors import AuditFailed, UserError
from dynbench.files import write_atomically
from dynbench.module_audit.report import AuditReport
from dynbench.suite.schema import DataSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


DIMENSIONS = 3


@click.command("audit")
@click.argument("target", metavar="FILE.py:FUNCTION")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--data", default="random:3x224x224", show_default=True, help="cifar10, imagefolder, or random:CxHxW.")
@click.option("--dense", metavar="FILE.py:FUNCTION", help="What it is timed beside; itself, if there is nothing.")
@click.option("--images", default=16, show_default=True, type=click.IntRange(min=1))
@click.option("--batch-sizes", default="1,32", show_default=True, help="To be timed, as 1,32; 0: none.")
@click.option("--device", default="auto", show_default=True, callback=device_name)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the report there.")
@click.option("--html", "html_file", type=click.Path(path_type=Path), help="Write a fragment for a page there.")
def audit_command(target: str, folder: Path | None, data: str, **options: Any) -> None:
    """Say what the module that FILE.py:FUNCTION makes executes on each image, and what that saves.

    FOLDER holds the data.
    """
    import dynbench
    from dynbench.device import choose_device

    device = choose_device(options["device"])
    module = _made(target).to(device)
    dense = _made(options["dense"]).to(device) if options["dense"] else None
    images = _images(data, folder, options["images"]).to(device)
    try:
        report = dynbench.audit(module, images, dense, _sizes(options["batch_sizes"]))
    except AuditFailed as error:
        raise UserError(f"{target}: {error}") from error
    _show(report)
    for path, content in ((options["json_file"], report.to_json()), (options["html_file"], report.to_html())):
        if path is not None:
            write_atomically(path, content.encode())


def _made(target: str) -> "nn.Module":
    """The module that a function without arguments gives. Raises UserError."""
    from torch import nn

    from dynbench.contract.load import load_file

    path, _, name = target.rpartition(":")
    if not path.endswith(".py"):
        raise UserError(f'"{target}" is not FILE.py:FUNCTION')
    function = getattr(load_file(Path(path)), name, None)
    if not callable(function):
        raise UserError(f"there is no function {name} in {path}")
    made = function()
    if not isinstance(made, nn.Module):
        raise UserError(f"{name} in {path} gives {type(made).__name__}, not a torch.nn.Module")
    return made


def _images(data: str, folder: Path | None, count: int) -> "Tensor":
    """Normalised images (count, channels, height, width). Raises UserError."""
    import torch

    name, _, size = data.partition(":")
    if name == "random":
        sides = size.split("x")
        if len(sides) != DIMENSIONS or not all(side.isdigit() and int(side) for side in sides):
            raise UserError(f'"{data}": write random:CHANNELSxHEIGHTxWIDTH, as random:3x224x224')
        return torch.randn(count, *map(int, sides), generator=torch.Generator().manual_seed(0))
    if name == "imagefolder":
        return _photographs(folder, count)
    if name != "cifar10":
        raise UserError(f'unknown data "{data}"; there are cifar10, imagefolder FOLDER and random:3x224x224')

    loaded = load_data(DataSpec(name=name, root=folder))
    return loaded.normalise(torch.device("cpu"))(loaded.validation.images[:count])


def _photographs(folder: Path | None, count: int) -> "Tensor":
    """The first images below a folder, as torchvision's networks want them: 256 pixels, the middle 224 of them."""
    import torch
    from torchvision.datasets.folder import IMG_EXTENSIONS, default_loader
    from torchvision.transforms._presets import ImageClassification

    if folder is None:
        raise UserError("imagefolder needs a folder: dynbench audit FILE.py:FUNCTION FOLDER --data imagefolder")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS)[:count]
    if not files:
        raise UserError(f"there are no images in {folder}")
    prepare = ImageClassification(crop_size=224)
    return torch.stack([prepare(default_loader(str(path))) for path in files])


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(size for size in map(int, text.split(",")) if size > 0)
    except ValueError as error:
        raise UserError(f'--batch-sizes "{text}": write whole numbers, as 1,32') from error


def _show(report: AuditReport) -> None:
    rows = report.rows()
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{name:{width}}  {value}")
    click.echo(report.verdict)
