"""`dynbench test`: a process of its own, so that a method that hangs, dies or cannot be loaded costs a line."""

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from dynbench.contract import CHECKS, Outcome
from dynbench.contract.trial import Trial, subject_of, try_method
from dynbench.errors import UserError
from dynbench.suite.schema import BackboneSpec, Limits
from tests.conftest import Call

METHOD = """\
import os, sys, time
from pathlib import Path
import torch
from dynbench.method import Method, MethodConfig, Output

class Config(MethodConfig):
    how: str = "well"
    wide: bool = True

class Mine(Method):
    "Ends in some way."
    name = "mine"
    Config = Config

    def unsupported(self, backbone):
        return None if self.config.wide else "it is too narrow"

    def build(self, backbone):
        if self.config.how == "hangs":
            Path(__file__).with_name("hangs").touch()
            time.sleep(1000)
        if self.config.how == "dies":
            os._exit(7)
        if self.config.how == "swallows":
            kept = []
            while True:
                kept.append(torch.ones(2**24))
                time.sleep(0.01)
        if self.config.how == "shouts":
            print("x" * 2**20)
            os.write(1, b"y" * 2**20)
        return backbone

    def infer(self, model, x, points):
        return [Output(model(x)) for _ in points]
"""

SPEC = BackboneSpec(name="resnet8", width=0.25)


@pytest.fixture
def method(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(METHOD)
    return path


def tried(method: Path, **params: object) -> dict[str, Outcome]:
    found: list[Outcome] = []
    limits = Limits(silence_minutes=60, memory_gib=2)
    try_method(Trial(f"{method}:Mine", SPEC, params), limits, found.append)
    return {outcome.check: outcome for outcome in found}


def test_a_method_in_a_file_is_tried_and_what_it_prints_is_counted(method: Path) -> None:
    found = tried(method, how="shouts")
    assert list(found) == [check.name for check in CHECKS]
    assert [name for name, outcome in found.items() if outcome.status == "broken"] == ["output"]
    assert found["output"].words.startswith("it prints 10485")
    assert found["audit"].status == "does not apply"


@pytest.fixture
def later(method: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours have passed as soon as the method hangs: nobody has to wait, and nothing is ended because it is slow."""
    hangs, now = method.with_name("hangs"), time.monotonic
    clock = SimpleNamespace(monotonic=lambda: now() + (10_000 if hangs.exists() else 0))
    monkeypatch.setattr("dynbench.isolate.limits.time", clock)


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("hangs", "no sign of progress for 60 minutes: it was ended"),
        ("dies", "its process ended by itself, with exit code 7, before it was done"),
    ],
)
def test_what_hangs_or_dies_costs_its_checks(method: Path, how: str, words: str) -> None:
    found = tried(method, how=how)
    assert list(found) == [check.name for check in CHECKS]
    assert (found["training"].status, found["training"].words) == ("broken", words)
    assert (found["output"].status, found["output"].words) == ("not run", f'at the check "training", {words}')


def test_memory_is_limited(method: Path) -> None:
    training = tried(method, how="swallows")["training"]
    assert training.status == "broken"
    assert training.words.endswith("GiB of memory, where 2 GiB are allowed: it was ended")


@pytest.mark.parametrize(
    ("target", "params", "words"),
    [
        ("mine.py:Yours", {}, r'no method "Yours" in {path}; \(known: Mine\)'),
        ("mine.py:Mine", {"how": 3}, "--param how: how: expected"),
        ("mine.py:Mine", {"who": 3}, '--param who: unknown key "who"; .*known: how, wide'),
        ("mine.py:Mine", {"wide": False}, "mine does not support resnet8: it is too narrow; try another --backbone"),
        ("broken.py", {}, "broken.py does not import: ValueError: no"),
        ("absent.py:Mine", {}, "no file .*absent.py"),
        ("mine.py:Mine", {"wide": None}, "--param wide: wide: expected true or false"),
    ],
)
def test_what_cannot_be_tried_is_one_line(
    method: Path, target: str, params: dict[str, object], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (method.parent / "broken.py").write_text("raise ValueError('no')")
    where = str(method.parent / target) if ".py" in target else target
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(UserError, match=words.format(path=method)) as raised:
        subject_of(Trial(where, SPEC, params))
    assert "\n" not in str(raised.value)


def test_the_command_line(call: Call, method: Path) -> None:
    result = call("test", f"{method}:Mine", "--backbone", "resnet8:0.25", "--param", "how=dies")
    assert result.exit_code == 1
    assert "mine.py:Mine on resnet8 x 0.25, digits" in result.output
    assert "  BROKEN          training        Every stage that has epochs trains" in result.output
    assert f"3 kept, 1 broken, {len(CHECKS) - 4} not run" in result.output


def test_an_unknown_method(call: Call) -> None:
    result = call("test", "denes")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert 'unknown method "denes"; did you mean "dense"' in result.stderr


@pytest.mark.parametrize("backbone", ["resnet7", "resnet8:0", "resnet8:x"])
def test_backbones_that_there_are_not(call: Call, backbone: str) -> None:
    result = call("test", "dense", "--backbone", backbone)
    assert result.exit_code == 2
    assert "backbone" in result.stderr
