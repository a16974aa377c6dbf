"""`dynbench sync`."""

from pathlib import Path

import click

from dynbench.cli.terminal import say
from dynbench.record.folder import ResultsFolder
from dynbench.tracking.sync import sync


@click.command("sync")
@click.argument("results", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--tracking-uri", help="MLflow tracking URI [MLFLOW_TRACKING_URI, else as recorded].")
def sync_command(results: Path, tracking_uri: str | None) -> None:
    """Send to MLflow what it does not have yet of the results folder DIR."""
    done = sync(ResultsFolder(results), tracking_uri)
    busy = f", being run {done.busy}" if done.busy else ""
    say(f"sent {done.sent}, already there {done.already}{busy}")
