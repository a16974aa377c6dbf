"""What plugin code does besides computing: threads, processes, connections, and reading a data set by itself.

Python reports these as audit events (PEP 578), also of code that hides them behind other libraries. Only the thread
that runs the plugin is watched: starting another one is a finding itself.
"""

import fnmatch
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import PurePath
from threading import get_ident
from types import FrameType

from dynbench.data.catalogue import file_patterns
from dynbench.errors import AuditFailed

ELSEWHERE = {
    "_thread.start_new_thread": "started a thread",
    "_thread.start_joinable_thread": "started a thread",
    "subprocess.Popen": "started a process",
    "os.fork": "started a process",
    "os.forkpty": "started a process",
    "os.posix_spawn": "started a process",
    "os.spawn": "started a process",
    "os.system": "started a process",
    "socket.connect": "opened a network connection",
}
"""Work that is done there is seen neither by the counter nor by the clock."""
SEARCHES = {
    "gc.get_objects": "searched the interpreter's memory for objects",
    "gc.get_referrers": "searched the interpreter's memory for objects",
    "sys._current_frames": "looked into the stacks of all threads",
    "sys.setprofile": "removed what watches its calls",
}


@dataclass
class _Watch:
    thread: int
    files_only: bool
    is_data: re.Pattern[str]
    """Matches the names of all data sets' files."""
    findings: list[str] = field(default_factory=list)


_active: _Watch | None = None


@contextmanager
def watched(doing: str, files_only: bool = False) -> Iterator[None]:
    """Plugin code runs inside, `doing` something.

    Raises AuditFailed when it started threads or processes, connected somewhere, searched memory, or opened a data
    set's files; `files_only`: for these alone.
    """
    global _active  # noqa: PLW0603  (an audit hook cannot be removed: one serves all watches)
    _install()
    outer, watch = _active, _Watch(get_ident(), files_only, _any_of(file_patterns()))
    _active = watch
    found = ""
    try:
        with _new_threads(watch):
            yield
    except AuditFailed as error:
        found = f"; {error}"  # what was found otherwise may follow from this
        if not watch.findings:
            raise
    except Exception as error:
        if not watch.findings:
            raise
        found = f"; {type(error).__name__}: {error}"  # so may this
    finally:
        left, _active = _active, outer
    if left is not watch:
        watch.findings.append("removed the harness's watch on it")
    if watch.findings:
        raise AuditFailed(f"{doing}, the plugin {'; '.join(dict.fromkeys(watch.findings))}{found}")


@contextmanager
def unwatched() -> Iterator[None]:
    """Code of the harness runs inside, called while a plugin is watched."""
    global _active  # noqa: PLW0603
    outer, _active = _active, None
    try:
        yield
    finally:
        _active = outer


@contextmanager
def _new_threads(watch: _Watch) -> Iterator[None]:
    """Before Python 3.12 threads are no audit events: what `threading` starts calls a profiler first."""

    def started(frame: FrameType, event: str, arg: object) -> None:  # noqa: ARG001
        sys.setprofile(None)
        if _active is not None and not watch.files_only:
            watch.findings.append(ELSEWHERE["_thread.start_new_thread"])

    before: Callable[..., object] | None = threading.getprofile()
    threading.setprofile(started)
    try:
        yield
    finally:
        threading.setprofile(before)


@cache
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Compiled here: an audit hook must not compile, which may open files."""
    return re.compile("|".join(map(fnmatch.translate, patterns)))


@cache
def _install() -> None:
    sys.addaudithook(_hook)


def _hook(event: str, args: tuple[object, ...]) -> None:
    watch = _active
    if watch is None or watch.thread != get_ident():
        return
    if event == "open":
        name = PurePath(str(args[0])).name if isinstance(args[0], str | PurePath) else ""
        if watch.is_data.fullmatch(name):
            watch.findings.append(f"read the data set's file {name} by itself")
    elif not watch.files_only and (event in ELSEWHERE or event in SEARCHES):
        watch.findings.append(ELSEWHERE.get(event) or SEARCHES[event])
