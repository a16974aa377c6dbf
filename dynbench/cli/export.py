"""`dynbench export`."""

from pathlib import Path

import click

from dynbench.errors import UserError

FORMATS = ("csv", "json", "parquet")


@click.command("export")
@click.argument("results", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--format", "to", type=click.Choice(FORMATS), default="csv", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write [standard output].")
def command(results: Path, to: str, output: Path | None) -> None:
    """Write the flat table of the records in DIR: one row per run and operating point."""
    if to == "parquet" and output is None:
        raise UserError("parquet is not text; say where it goes with -o FILE")
    from dynbench import load  # noqa: PLC0415  (imports pandas)
    from dynbench.files import write_atomically  # noqa: PLC0415
    from dynbench.report.export import encode  # noqa: PLC0415

    content = encode(load(results), to)  # type: ignore[arg-type]  # click has checked it
    if output is None:
        click.echo(content, nl=False)
    else:
        write_atomically(output, content)
