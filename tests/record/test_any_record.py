"""Records made up and changed at random, through every command that reads a results folder: a result, or one line.

DYNBENCH_RECORDS=2000 makes this many (`tox -e records`); by default there are a few.
"""

import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dynbench.cli import cli
from dynbench.errors import UserError
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Record, Tracked
from dynbench.tracking import payload
from tests.helpers.records import Fake, make_record, write_fakes

RECORDS = int(os.environ.get("DYNBENCH_RECORDS", "24"))
FAKES = [
    Fake(audited=True, layers=(("conv1", 40_000_000),), speeds=(1.0,)),
    Fake("lc_net", {"l1_layer": 0.1}, 0, ("whole", "half"), 89.0, (20.0, 9.0), 0.1, audited=True, speeds=(2.0, 3.0)),
]
OFTEN = settings(max_examples=max(2, RECORDS // 2), deadline=None, suppress_health_check=list(HealthCheck))


class _Sent:
    """Takes what MLflow would get."""

    tracked = Tracked(uri="sqlite:///mlflow.db", run_id="x", complete=True)

    def describe(self, run: Run) -> None:
        list(payload.run_parameters(run))

    def finish(self, record: Record) -> None:
        list(payload.epoch_values(record.history, 0))
        assert all(abs(value.time) < 2**63 for value in payload.result_values(record))
        list(payload.result_tags(record))

    def upload(self, *_: object) -> None: ...

    def end(self, *_: object) -> None: ...


class _Store:
    """In place of MLflow, whose tables take seconds to make."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def open(self, run: Run, *_: object) -> _Sent:
        return _Sent()

    def open_suite(self, *_: object) -> _Sent:
        return _Sent()


@dataclass(frozen=True)
class Template:
    """A sound results folder and its baseline, to be copied."""

    results: Path
    baseline: Path

    @contextlib.contextmanager
    def copied(self) -> Iterator[ResultsFolder]:
        with tempfile.TemporaryDirectory() as name:
            shutil.copytree(self.results, Path(name) / "results")
            yield ResultsFolder(Path(name) / "results")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    folder = tmp_path_factory.mktemp("template")
    write_fakes(folder / "results", FAKES)
    made = Template(folder / "results", folder / "baseline.json")
    assert command("baseline", made.results, "-o", made.baseline) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(sys.modules["dynbench.tracking.sync"], "Store", _Store)
        yield made


def _terminal() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), "utf-8")


def command(*arguments: object) -> int:
    """The exit code. What is no error for people is raised."""
    with contextlib.redirect_stdout(_terminal()), contextlib.redirect_stderr(_terminal()):
        try:
            cli.main([str(argument) for argument in arguments], standalone_mode=False)
        except UserError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 2000
            return 2
        except click.ClickException as error:
            return error.exit_code
        except SystemExit as error:
            return int(error.code or 0)
    return 0


def through_every_command(results: ResultsFolder, baseline: Path, run_id: str) -> dict[str, int]:
    """Exit codes by command."""
    beside = results.path.parent
    codes = {
        "table": command("table", results),
        "export": command("export", results),
        "parquet": command("export", results, "--format", "parquet", "-o", beside / "a.parquet"),
        "weights": command("export", results, "--weights", beside / "weights"),
        "baseline": command("baseline", results, "-o", beside / "made.json", "--allow-simulated"),
        "check": command("check", results, "--baseline", baseline, "--junit", beside / "j", "--markdown", beside / "m"),
        "sync": command("sync", results),
        "time": command("time", results),
        "verify": command("verify", results.path / "records" / f"{run_id}.json"),
        "report": command("report", results),
    }
    if codes["baseline"] == 0:
        codes["itself"] = command("check", results, "--baseline", beside / "made.json")
    assert set(codes.values()) <= {0, 1, 2}, codes
    return codes


TEXTS = ["", "x", "x" * 300, "../../x", "/etc/x", "\x1b[2J", "a\nb", "é\u202e", "dense", "nan", "|<b>"]
NUMBERS = [0, -1, 1, 0.5, 99.9, 100, 1e-300, 1e308, -1e308, float("nan"), float("inf"), 2**31, 2**53 + 1, 2**63, 2**64]
VALUES = st.sampled_from([None, True, False, [], {}, [[]], {"a": []}, *TEXTS, *NUMBERS])
DELETE, DOUBLE = object(), object()


def places(content: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Of everything in a JSON document."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [at, *(place for key, part in items for place in places(part, (*at, key)))]


def put(content: Any, place: tuple[Any, ...], value: Any) -> None:
    for part in place[:-1]:
        content = content[part]
    if value is DELETE:
        del content[place[-1]]
    elif value is DOUBLE and isinstance(content, list):
        content.insert(place[-1], content[place[-1]])
    else:
        content[place[-1]] = None if value is DOUBLE else value


@st.composite
def changes(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A record's name and content, with one to three things changed; often its id follows."""
    content = json.loads(make_record(draw(st.sampled_from(FAKES)))[0].model_dump_json())
    name = content["run_id"]
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places(content)[1:]))
        put(content, place, draw(VALUES | st.sampled_from([DELETE, DOUBLE])))
    if draw(st.booleans()):
        with contextlib.suppress(ValidationError, KeyError, TypeError):
            name = content["run_id"] = Run.model_validate(content["run"]).run_id
    return name, content


@given(changes())
@OFTEN
def test_a_record_that_was_changed_is_read_or_refused(template: Template, change: tuple[str, dict[str, Any]]) -> None:
    name, content = change
    with template.copied() as results:
        fits = "/" not in name and "\0" not in name and len(name) < 200
        path = results.path / "records" / f"{name if fits else 'x'}.json"
        path.write_text(json.dumps(content))
        codes = through_every_command(results, template.baseline, path.stem)
        readers = ("table", "export", "baseline", "check", "sync", "time", "report")
        if codes["export"] == 2:  # what one command refuses every other does
            assert {codes[reader] for reader in readers} == {2}


WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\[", exclude_categories=("C", "Zl", "Zp")), max_size=12
)
NAMES = WORDS.map(str.strip).filter(lambda text: bool(text) and text.isprintable() and not text.startswith("."))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def fakes(draw: st.DrawFn) -> Fake:
    """A valid record, as strange as one may be."""
    points = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    few = st.floats(0.001, 100)
    return Fake(
        method=draw(st.sampled_from(["dense", "lc_net", "filter_pruning"]) | NAMES),
        given=draw(st.dictionaries(NAMES, JSON, max_size=3)),
        seed=draw(st.integers(0, 2**62)),
        points=tuple(points),
        top1=draw(st.floats(0, 100)),
        mmacs=tuple(draw(few) for _ in points),
        spread=draw(st.sampled_from([0.0, 0.1, 0.5])),
        dense_mmacs=draw(few),
        dataset=draw(st.sampled_from(["cifar10", "digits"]) | NAMES),
        backbone=draw(st.sampled_from(["resnet20", "resnet8"]) | NAMES),
        error=draw(st.none() | st.none() | st.text(max_size=30)),
        audited=draw(st.booleans()),
        speeds=tuple(draw(st.floats(0.01, 100)) for _ in points) if draw(st.booleans()) else (),
        static=draw(st.none() | st.booleans()),
        images=draw(st.sampled_from([1, 2, 7, 400])),
        finished=draw(st.floats(0, 1e10)),
    )


@given(st.lists(fakes(), min_size=1, max_size=3))
@OFTEN
def test_a_valid_record_is_read_whatever_is_in_it(template: Template, made: list[Fake]) -> None:
    made = [fake for fake in made if "width" not in fake.given]
    with template.copied() as results:
        for fake in made:
            record, arrays = make_record(fake)
            results.write_record(record, arrays)
        codes = through_every_command(results, template.baseline, make_record(FAKES[0])[0].run_id)
        assert (codes["export"], codes["table"], codes["sync"]) == (0, 0, 0)
