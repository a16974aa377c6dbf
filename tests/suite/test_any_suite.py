"""Whatever a suite says, it is planned or refused in one line: never a traceback, never a wait.

A few hundred are tried by default; `DYNBENCH_SUITES=10000` says how many (`tox -e fuzz`).
"""

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from dynbench.cli.options import read_suite
from dynbench.cli.terminal import LONGEST, as_message, printable
from dynbench.errors import UserError
from dynbench.plan.expand import expand_suite
from dynbench.suite.read import parse_yaml, validate

SUITES = int(os.environ.get("DYNBENCH_SUITES", "200"))
SECONDS = 10
"""Of the processor, for one suite: most take milliseconds, the first imports PyTorch."""

GOOD: dict[str, Any] = {
    "name": "s",
    "data": {"name": "digits", "validation": 100, "mean": [0.5], "std": [0.5], "augment": False},
    "backbones": ["resnet8", {"name": "resnet20", "width": 0.5, "shortcut": "A", "stem": "cifar"}],
    "recipe": {
        "epochs": 2,
        "batch_size": 64,
        "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
        "schedule": {"name": "step", "milestones": [1]},
        "label_smoothing": 0.1,
        "clip_norm": 1.0,
        "precision": "bf16",
    },
    "seeds": [0, 1],
    "methods": [
        "dense",
        {"name": "lc_net", "params": {"l1_layer": [0.1, 0.2], "init": "dense"}},
        {"name": "filter_pruning", "params": {"keep": 0.5}},
        {"name": "blockdrop"},
    ],
    "evaluation": {"batch_size": 100, "validate_every": 1},
    "tracking": {"backend": "none", "uri": "sqlite:///x.db", "seconds": 5},
    "latency": {"images": 8, "rounds": 2, "batches": [1, 8], "threads": 1, "engines": ["onnxruntime"]},
    "budget": {"epochs": 9, "train_macs": 1e12},
    "limits": {"silence_minutes": 5, "memory_share": 0.5, "runs": 50},
    "check": {"test_top1": "-0.5pt"},
    "controls": True,
    "device": "cpu",
}
STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**63, 10**30, 10**400]),
    st.floats(),
    st.sampled_from([1e308, 1e-320, 1e30, -0.0]),
    st.text(max_size=20),
    st.sampled_from(
        ["", "none", "dense", "\0", "\ud800", "\x1b[31m", "[/x]", "../../x", "/dev/zero", "x" * 3000, "%n", "'"]
    ),
    st.dates(),
    st.binary(max_size=5),
)
ANYTHING = st.recursive(
    STRANGE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(sorted(GOOD)), STRANGE), inner, max_size=4),
    ),
    max_leaves=8,
)
TAGS = ["&a ", "*a", "<<: *a", "!!set ", "!!bool ", "!x ", "%YAML 9", "---\n", "...\n"]
MARKS = ["|", "? ", ": ", "- ", "[", "]", "{", "}", ">\n", "'", '"', "#", "\t", "\r", "~", "1e999", "\x85", "é"]
BYTES = ["\x00", "\x1b[2J", "\u202e", "\ud800", "9" * 5000, "x" * 2000, "[" * 200]
PIECES = st.sampled_from([*TAGS, *MARKS, *BYTES])


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in the document."""
    parts = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(deeper for part, value in parts for deeper in places(value, (*path, part)))]


def with_changed(node: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value at the place."""
    if not path:
        return value
    if isinstance(node, dict):
        return {**node, path[0]: with_changed(node[path[0]], path[1:], value)}
    return [with_changed(one, path[1:], value) if index == path[0] else one for index, one in enumerate(node)]


@st.composite
def documents(draw: st.DrawFn) -> Any:
    """A good suite with one to three values put in place of others, or keys added."""
    document: Any = GOOD
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(document)))
        document = with_changed(document, path, draw(ANYTHING))
        if draw(st.booleans()) and isinstance(document, dict):
            document = {**document, draw(STRANGE): draw(ANYTHING)}
    return document


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A good suite's text with pieces cut out, put in and doubled."""
    text = TEXT
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        text = text[:start] + draw(st.one_of(PIECES, st.just(text[start:end] * 2), st.text(max_size=3))) + text[end:]
    return text


def _dumped() -> str:
    from io import StringIO

    stream = StringIO()
    YAML(typ="safe", pure=True).dump(GOOD, stream)
    return stream.getvalue()


TEXT = _dumped()


def planned_or_refused(make: Any) -> None:
    """`make()` expands a suite, or raises UserError in a line that can be shown, soon."""
    started = time.process_time()
    try:
        make()
    except UserError as error:
        shown = printable(as_message(str(error)))
        assert shown.strip()
        assert not re.search(r"[\x00-\x08\x0a-\x1f\ud800-\udfff]", shown)
        assert len(shown) < 10 * LONGEST
    assert time.process_time() - started < SECONDS


OFTEN = settings(max_examples=SUITES // 2, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)


@OFTEN
@given(documents())
def test_any_document_is_planned_or_refused(document: Any) -> None:
    from dynbench.plan.expand import Suite

    planned_or_refused(lambda: expand_suite(Suite(*validate(document, "s.yaml"))))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("suite") / "s.yaml"


@OFTEN
@given(text=texts())
def test_any_text_is_planned_or_refused(path: Path, text: str) -> None:
    path.write_bytes(text.encode(errors="surrogatepass"))
    planned_or_refused(lambda: expand_suite(read_suite(path)))


@settings(max_examples=max(20, SUITES // 20), deadline=None)
@given(st.text(max_size=200))
def test_any_yaml_of_an_option_is_taken_or_refused(text: str) -> None:
    planned_or_refused(lambda: parse_yaml(text, "--set x"))
