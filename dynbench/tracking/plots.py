"""The suite's page and plots, in an MLflow run of their own."""

import time
from pathlib import Path

from dynbench.errors import UserError
from dynbench.record.folder import ResultsFolder
from dynbench.tracking.location import Location, find_location, read_state, write_state
from dynbench.tracking.patience import SECONDS, Patience
from dynbench.tracking.store import Store, TrackingFailed, how_to_sync


def log_plots(results: ResultsFolder, suite: str, uri: str | None) -> str | None:
    """Upload report.html, and the PNG and SVG files of `results/plots`, to the suite's MLflow run.

    Returns what went wrong, in one line, or None; raises nothing. `uri` as for `Tracker`.
    """
    if not _files(results):
        return None
    place = find_location(results, uri)
    try:
        _note_as_unsent(results, suite)
        send_plots(results, suite, Store(place, Patience(SECONDS)))
    except (TrackingFailed, UserError) as error:
        return f"{error}; `{how_to_sync(results, place)}` sends the plots later"
    return None


def _note_as_unsent(results: ResultsFolder, suite: str) -> None:
    """What was sent before are older plots."""
    state = read_state(results, _name(suite))
    if state is not None:
        write_state(results, _name(suite), state.model_copy(update={"complete": False}))


def plot_files(results: ResultsFolder) -> list[Path]:
    """Return the plots that there are, by name."""
    return [path for path in results.plot_files() if path.suffix in (".png", ".svg")]


def _page_file(results: ResultsFolder) -> list[Path]:
    """The page, if there is one."""
    return [results.page] if results.page.is_file() else []


def _files(results: ResultsFolder) -> list[Path]:
    """All that is sent."""
    return [*_page_file(results), *plot_files(results)]


def plots_are_there(results: ResultsFolder, suite: str, place: Location) -> bool:
    """Return whether the plots have been sent to this place, or there are none."""
    state = read_state(results, _name(suite))
    sent = state is not None and state.complete and state.uri == place.stored and not place.is_missing
    return sent or not _files(results)


def send_plots(results: ResultsFolder, suite: str, store: Store) -> None:
    """Send the plots to MLflow. Raises TrackingFailed, and UserError when the state cannot be written."""
    now = time.time()
    opened = store.open_suite(suite, now, read_state(results, _name(suite)), Patience(SECONDS))
    write_state(results, _name(suite), opened.tracked)
    opened.upload(_page_file(results))
    opened.upload(plot_files(results), "plots")
    opened.end("FINISHED", now)
    write_state(results, _name(suite), opened.tracked)


def _name(suite: str) -> str:
    return f"plots-{suite}"
