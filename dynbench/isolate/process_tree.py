"""A process and everything that it started, to be counted and to be ended together.

What gets away: a process whose parents ended before anybody had seen it, where nobody adopts it (the child itself died
within half a second of that, or the system is not Linux); and whatever another service starts on request (cron,
systemd, a container runtime), which never was a descendant.
"""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

_PR_SET_CHILD_SUBREAPER = 36
"""prctl(2)."""


class ProcessTree:
    """A process and its descendants; those whose parents have ended too, once they were seen.

    Handles are psutil's, which know a process by when it was created as well: another one that has taken up the id is
    left alone.
    """

    def __init__(self, pid: int) -> None:
        self._seen: list[psutil.Process] = []
        with suppress(psutil.Error):
            self._seen.append(psutil.Process(pid))

    def look(self) -> list[psutil.Process]:
        """Return those that are there, the first of them first."""
        found: dict[psutil.Process, None] = {}
        for process in self._seen:
            if process not in found and process.is_running():
                found[process] = None
                found.update(dict.fromkeys(_descendants(process)))
        self._seen = list(found)
        return self._seen

    def memory(self) -> int:
        """Return the resident bytes, summed up: pages that several share are in it several times."""
        return sum(map(_resident, self.look()))

    def own_memory(self) -> int:
        """Return the bytes that it takes; of what several share each has its part. Takes longer than `memory`."""
        return sum(map(_proportional, self.look()))

    def kill(self) -> None:
        """End all of them."""
        _end(self.look)


@contextmanager
def ending_descendants() -> Iterator[None]:
    """End everything that this process has started, at the end of the block.

    On Linux daemons too: whose parents end inside is adopted by this process.
    """
    _adopt_orphans()
    try:
        yield
    finally:
        end_descendants()


def end_descendants() -> None:
    """End everything that this process has started and that is still its descendant."""
    _end(lambda: _descendants(psutil.Process()))


def _adopt_orphans() -> None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # a C library without it
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end(look: Callable[[], list[psutil.Process]]) -> None:
    """End all that `look` gives. They are stopped first, so that none starts another one that nobody looks for."""
    stopped: list[psutil.Process] = []
    while fresh := [process for process in look() if process not in stopped]:
        for process in fresh:
            with suppress(psutil.Error):
                process.suspend()
        stopped += fresh
    for process in stopped:
        with suppress(psutil.Error):
            process.kill()


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return list(process.children(recursive=True))
    return []


def _resident(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def _proportional(process: psutil.Process) -> int:
    """Where the system does not say (it is not Linux, or another user's), what is resident."""
    with suppress(psutil.Error, AttributeError, OSError):
        return int(process.memory_full_info().pss)
    return _resident(process)
