"""Signs of life, what is taken for a hang where limits do not say, and children that do not keep to the form."""

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dynbench.errors import UserError
from dynbench.isolate import child, pulse
from dynbench.isolate.call import call, is_supervised
from dynbench.isolate.child import Ask
from dynbench.isolate.limits import ChildDied, ChildEnded
from dynbench.isolate.module import run_module
from dynbench.suite.schema import Limits

BRIEF = Limits(silence_minutes=0.05)
MEMORY = 300 * 2**20


def gives_signs(ask: Ask) -> str:
    for _ in range(5):
        time.sleep(1.2)
        pulse.alive()
    return "done"


def asks_then_hangs(ask: Ask, pause: float) -> None:
    time.sleep(pause)
    ask("still there")
    time.sleep(1000)


def forks_six(ask: Ask) -> str:
    """Each shares what this process holds."""
    held = bytearray(os.urandom(2**20)) * (MEMORY // 2**20)
    children = []
    for _ in range(6):
        child = os.fork()
        if child == 0:
            time.sleep(3)
            os._exit(len(held) % 1)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return "done"


def closes_everything(ask: Ask) -> None:
    os.closerange(3, 300)
    time.sleep(1000)


def is_it_supervised(ask: Ask) -> bool:
    return is_supervised()


class OddError(UserError):
    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


class OddOsError(OSError):
    def __init__(self, one: str, other: str) -> None:
        super().__init__(28, one)


def raises_what_cannot_be_pickled(ask: Ask, kind: Any) -> None:
    raise kind("fix", "this")


def writes_into_the_pipe(ask: Ask) -> None:
    connection = ask.args[0]  # type: ignore[attr-defined]
    connection.send_bytes(b"no pickle")
    time.sleep(1000)


def test_signs_without_a_word_are_enough() -> None:
    assert call(gives_signs, limits=BRIEF) == "done"


def test_a_silence_is_measured_by_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first may be as long as `FIRST_SECONDS`; later ones ten times the longest."""
    monkeypatch.setattr("dynbench.isolate.limits.FIRST_SECONDS", 4.0)
    monkeypatch.setattr("dynbench.isolate.limits.TIMES", 3)
    with pytest.raises(ChildEnded, match="no sign of progress") as raised:
        call(asks_then_hangs, 3.0, limits=Limits(), answers=lambda _: None)
    minutes = float(str(raised.value).split()[5])
    assert 60 * minutes > 8.9, "the first silence took three seconds"
    with pytest.raises(ChildEnded, match=r"no sign of progress for 0.0667 minutes"):
        call(asks_then_hangs, 1000.0, limits=Limits(), answers=lambda _: None)


def test_an_answer_that_takes_long_is_no_silence_of_the_child() -> None:
    with pytest.raises(ChildEnded, match=r"no sign of progress for 0.05 minutes"):
        call(asks_then_hangs, 0.0, limits=BRIEF, answers=lambda _: time.sleep(4))


@pytest.mark.skipif(sys.platform != "linux", reason="shares are told by Linux")
def test_memory_that_children_share_counts_once() -> None:
    assert call(forks_six, limits=Limits(silence_minutes=2, memory_gib=1.2)) == "done"


def test_a_child_that_closes_its_pipes_is_ended_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynbench.isolate.call.LAST_SECONDS", 0.2)
    with pytest.raises(ChildDied, match="stopped talking with dynbench before it was done: it was ended"):
        call(closes_everything, limits=BRIEF)


def test_a_child_that_writes_into_its_pipe_ends_itself_alone() -> None:
    with pytest.raises(ChildEnded, match="its process sent something that is not an answer: UnpicklingError"):
        call(writes_into_the_pipe, limits=BRIEF)


def test_errors_of_other_kinds_come_through() -> None:
    with pytest.raises(UserError, match=r"^fix this$"):
        call(raises_what_cannot_be_pickled, OddError, limits=BRIEF)
    with pytest.raises(OSError, match="fix") as raised:
        call(raises_what_cannot_be_pickled, OddOsError, limits=BRIEF)
    assert raised.value.errno == 28


def test_only_children_are_supervised() -> None:
    assert not is_supervised()
    assert call(is_it_supervised, limits=BRIEF)


SLOW = """
import time
from dynbench.isolate.pulse import alive
for _ in range({signs}):
    time.sleep(1.2)
    alive()
print("x" * 100_000)
time.sleep({then})
"""


@pytest.mark.parametrize(("then", "ends"), [(0, True), (1000, False)])
def test_a_module_gives_signs_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: int, ends: bool) -> None:
    (tmp_path / "slow.py").write_text(SLOW.format(signs=5 if ends else 1, then=then))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    if ends:
        run_module("slow", limits=Limits(silence_minutes=0.1))
    else:
        with pytest.raises(ChildEnded, match="no sign of progress"):
            run_module("slow", limits=Limits(silence_minutes=0.1))


@pytest.mark.parametrize(("is_closed", "exits"), [(True, []), (False, [1])])
def test_a_pipe_that_the_child_closes_is_no_death_of_its_parent(
    is_closed: bool, exits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However soon: a busy machine may not have begun to wait for the parent's end by then."""
    ours, theirs = os.pipe()
    os.close(theirs)
    if is_closed:
        os.close(ours)
    ended: list[int] = []
    parent = SimpleNamespace(sentinel=ours, join=lambda: None)
    with monkeypatch.context() as patch:
        patch.setattr("dynbench.isolate.child.parent_process", lambda: parent)
        patch.setattr("dynbench.isolate.child.end_descendants", lambda: None)
        patch.setattr(os, "_exit", ended.append)
        child._die_with_parent()
    if not is_closed:
        os.close(ours)
    assert ended == exits
