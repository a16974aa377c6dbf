"""The one module that talks to MLflow. It changes no state of MLflow's own (no global URI, no active run)."""

import logging
import os
import re
import shlex
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import EpochRecord, Record, Tracked
from dynbench.tracking import payload as content
from dynbench.tracking.database import make_database, repair_database
from dynbench.tracking.location import Location, without_password
from dynbench.tracking.patience import SECONDS, Patience

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as ServerRun


T = TypeVar("T")

MAKING_SECONDS = 600.0
"""For making a database: nobody is waited for, and a slow machine takes its time."""
NO_RUN = ""
"""`Tracked.run_id` while there is no MLflow run yet."""

_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow's own patience, 7 retries of 120 s each, would hold up the training.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


class TrackingFailed(Exception):  # noqa: N818  (named for what happened)
    """MLflow is missing, does not answer, or refuses. The message is one line without passwords."""


def how_to_sync(results: ResultsFolder, place: Location) -> str:
    """Return what sends later what could not be sent now."""
    own = place.inside is not None and not place.is_foreign
    return shlex.join(["dynbench", "sync", str(results), *([] if own else ["--tracking-uri", place.stored])])


def talk(place: Location, patience: Patience, work: Callable[[], T]) -> T:
    """Return `work()`, which asks MLflow something, with MLflow and what it is made of silenced.

    Raises TrackingFailed for whatever goes wrong, and when the patience is at its end.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    with _silence(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return patience.wait_for(work)
        except Exception as error:  # requests, SQLAlchemy, MLflow and its plugins share no base class
            raise TrackingFailed(_reason(error, place)) from error


@contextmanager
def _silence() -> Iterator[None]:
    """Of logging; for good where a thread was left behind, which has more to say."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    except TrackingFailed as error:
        if isinstance(error.__cause__, TimeoutError):
            raise
        logging.disable(disabled)
        raise
    except BaseException:
        logging.disable(disabled)
        raise
    logging.disable(disabled)


def _reason(error: Exception, place: Location) -> str:
    if isinstance(error, ImportError) and (error.name or "").split(".")[0] == "mlflow":
        return "MLflow is not installed: `pip install mlflow`, or use --tracking none"
    text = without_password(str(error).strip().partition("\n")[0]) or type(error).__name__
    if "failed with exception" in text or "failed with timeout" in text:
        cause = re.search(r"Caused by (\w+)", text)
        text = f"no answer ({cause[1]})" if cause else "no answer"
    return f"MLflow at {place.stored}: {text[:200]}"


class Store:
    """Opens MLflow runs.

    Making one raises TrackingFailed when a database cannot be opened; servers are first asked by `open`.
    """

    def __init__(self, place: Location, patience: Patience | None = None) -> None:
        """`patience`: what may be waited for in this and in `open` together; None: `SECONDS` for each."""
        self.place = place
        patience, endless = patience or Patience(SECONDS), Patience(MAKING_SECONDS)
        if place.file is not None:
            file = place.file
            talk(place, endless, lambda: make_database(file, _client))
        try:
            self._client = talk(place, patience, self._connected)
        except TrackingFailed as error:
            if place.file is None or isinstance(error.__cause__, TimeoutError):
                raise
            file = place.file
            if not talk(place, endless, lambda: repair_database(file, _client)):
                raise
            self._client = talk(place, patience, self._connected)

    def _connected(self) -> "MlflowClient":
        _check_database(self.place)
        return _client(self.place.uri)

    def open(self, run: Run, started: float, known: Tracked | None, patience: Patience | None = None) -> "MlflowRun":
        """Return the MLflow run of `known`, or a new one where there is none at this place or it was deleted.

        `started`: seconds since 1970. Raises TrackingFailed.
        """
        return self._open(run.suite, run.run_id, content.start_tags(run), started, known, patience)

    def open_suite(
        self, suite: str, started: float, known: Tracked | None, patience: Patience | None = None
    ) -> "MlflowRun":
        """Open as `open` does, for what belongs to a whole suite."""
        return self._open(suite, suite, content.suite_tags(), started, known, patience)

    def _open(
        self,
        suite: str,
        name: str,
        tags: Iterable[content.Text],
        started: float,
        known: Tracked | None,
        patience: Patience | None,
    ) -> "MlflowRun":
        def found_or_made() -> "tuple[ServerRun, int]":
            found = self._find(known)
            if found is not None and known is not None:
                _check_inside(self.place, found.info.artifact_uri)
                return found, known.epochs
            of_tags = {tag.key: tag.text for tag in tags}
            start = content.milliseconds(started)
            return self._client.create_run(self._experiment(suite), start, of_tags, run_name=name), 0

        patience = patience or Patience(SECONDS)
        found, epochs = talk(self.place, patience, found_or_made)
        return MlflowRun(self.place, self._client, patience, found, epochs)

    def _find(self, known: Tracked | None) -> "ServerRun | None":
        from mlflow.exceptions import MlflowException

        if known is None or known.run_id == NO_RUN or known.uri != self.place.stored:
            return None
        try:
            found = self._client.get_run(known.run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return found if found.info.lifecycle_stage == "active" else None

    def _experiment(self, suite: str) -> str:
        """Id of the suite's experiment, which another process may be creating at this moment."""
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(suite)
        if found is None:
            try:
                return str(self._client.create_experiment(suite, artifact_location=self.place.artifacts))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self._client.get_experiment_by_name(suite)
                assert found is not None
        _check_inside(self.place, found.artifact_location)
        return str(found.experiment_id)


def _client(uri: str) -> "MlflowClient":
    """Of a database that is not there MLflow makes the tables."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _check_inside(place: Location, uri: str) -> None:
    """Check that a database in a results folder has its files written there too.

    Raises ValueError when they are written elsewhere: it was moved, or made by another program or user.
    """
    if place.inside is None or place.file is None:
        return
    parts = urlsplit(uri)
    path = Path(url2pathname(parts.path)).resolve()
    if parts.scheme not in {"", "file"} or not path.is_relative_to(place.inside):
        raise ValueError(
            f"it keeps its files in {uri}, outside the results folder; delete {place.file} to make it again"
        )


def _check_database(place: Location) -> None:
    """Fail at once when a database cannot be opened: MLflow would try for 100 s."""
    from mlflow.store.db.db_types import DATABASE_ENGINES
    from sqlalchemy import create_engine, inspect

    if place.uri.split(":")[0].split("+")[0] not in DATABASE_ENGINES:
        return
    engine = create_engine(place.uri)
    try:
        inspect(engine).get_table_names()
    finally:
        engine.dispose()


class MlflowRun:
    """One run in MLflow. `tracked` says at any moment what was sent. Every method raises TrackingFailed."""

    def __init__(
        self, place: Location, client: "MlflowClient", patience: Patience, found: "ServerRun", epochs: int = 0
    ) -> None:
        self._place = place
        self._client = client
        self._patience = patience
        self._found = found
        self.tracked = Tracked(uri=place.stored, run_id=found.info.run_id, epochs=epochs)

    def describe(self, run: Run) -> None:
        """Send the parameters, and ask how many epochs there are already."""
        self._update(epochs=talk(self._place, self._patience, lambda: self._described(run)))

    def _described(self, run: Run) -> int:
        from mlflow.entities import Param

        there = self._found.data.params  # MLflow refuses to change a parameter
        params = [Param(key, text) for key, text in content.run_parameters(run) if key not in there]
        if self._found.info.status != "RUNNING":
            self._client.update_run(self.tracked.run_id, status="RUNNING")
        self._client.log_batch(self.tracked.run_id, params=params)
        sent = self._client.get_metric_history(self.tracked.run_id, content.LAST_OF_EPOCH)
        return len({metric.step for metric in sent})

    def send_epochs(self, history: Sequence[EpochRecord]) -> None:
        """Send the epochs that have not been sent."""
        if len(history) > self.tracked.epochs:
            self._send(content.epoch_values(history, self.tracked.epochs))
            self._update(epochs=len(history))

    def finish(self, record: Record) -> None:
        """Send everything else, the record itself too, with `tracked` filled in, and close the MLflow run."""
        self.send_epochs(record.history)
        self._send(content.result_values(record), content.result_tags(record))
        done = self.tracked.model_copy(update={"complete": True})
        text = record.model_copy(update={"tracked": done}).model_dump_json(indent=1)
        self._ask(lambda: self._client.log_text(done.run_id, text + "\n", "record.json"))
        self.end("FINISHED" if record.status == "finished" else "FAILED", record.finished)

    def upload(self, files: Sequence[Path], folder: str | None = None) -> None:
        """Upload files as artifacts, into a folder of them or beside those."""
        for file in files:
            self._ask(partial(self._client.log_artifact, self.tracked.run_id, str(file), folder))

    def end(self, status: str, finished: float) -> None:
        """Close the MLflow run, at `finished` in seconds since 1970."""
        self._ask(lambda: self._client.set_terminated(self.tracked.run_id, status, content.milliseconds(finished)))
        self.tracked = self.tracked.model_copy(update={"complete": True})

    def _send(self, values: Iterator[content.Value], tags: Iterable[content.Text] = ()) -> None:
        def send() -> None:
            from mlflow.entities import Metric, RunTag

            self._client.log_batch(
                self.tracked.run_id,
                metrics=[Metric(*value) for value in values],
                tags=[RunTag(*tag) for tag in tags],
            )

        self._ask(send)

    def _ask(self, work: Callable[[], object]) -> None:
        talk(self._place, self._patience, work)

    def _update(self, epochs: int) -> None:
        self.tracked = self.tracked.model_copy(update={"epochs": epochs})
