"""`dynbench new`."""

from pathlib import Path

import click

from dynbench.cli.terminal import say
from dynbench.scaffold.write import new_package


@click.command("new")
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path), default=Path(), help="Folder to write it in [this one].")
def new_command(name: str, into: Path) -> None:
    """Write a small package with a working method called NAME (as my_method), to start your own from."""
    for path in new_package(name, into):
        say(f"wrote {path}")
    folder = into / name
    say(f"next: pip install -e {folder} && dynbench test {name} && dynbench run {folder / 'suite.yaml'}")
