"""Watches a child process and ends it when it keeps silent for too long or takes too much memory."""

import os
import signal
import time
from contextlib import suppress
from typing import Protocol

import psutil

from dynbench.isolate.process_tree import ProcessTree

MANY = 2**12
"""Signs that are taken at once."""
LOOK_SECONDS = 0.5
"""Between two looks at the memory."""


FIRST_SECONDS = 600.0
"""A silence that is taken for a hang, where limits do not say."""
TIMES = 10
"""Or this many times the longest silence so far, where that is more."""


class ProcessLimits(Protocol):
    """What a child process, with everything that it starts, is bound by. A suite's `limits:` are such ones."""

    @property
    def silence_minutes(self) -> float | None:
        """Without a sign of life; None: `FIRST_SECONDS`, and longer where signs have been further apart."""

    @property
    def memory_gib(self) -> float | None:
        """Of main memory; None: `memory_share`."""

    @property
    def memory_share(self) -> float:
        """As a fraction of the machine's."""


class ChildEnded(Exception):  # noqa: N818  (named for what happened)
    """A child process ended, or was ended, before it had answered. The message says how."""


class ChildDied(ChildEnded):
    """It ended by itself, or something outside dynbench ended it."""


class LimitWatch:
    """Holds one child process, and those that it starts, to the limits."""

    def __init__(self, pid: int, limits: ProcessLimits, signs: int) -> None:
        """`signs`: the file descriptor that the child gives signs of life into (`dynbench.isolate.pulse`)."""
        self._tree, self._limits, self._signs = ProcessTree(pid), limits, signs
        os.set_blocking(signs, False)
        self._heard = time.monotonic()
        self._looked = self._heard
        self._longest = 0.0

    def heard(self) -> None:
        """Note that the child has given a sign of life."""
        now = time.monotonic()
        self._longest = max(self._longest, now - self._heard)
        self._heard = now

    def waited(self) -> None:
        """Note that the child has waited for us, so that it had to be silent."""
        self._heard = time.monotonic()

    def check(self) -> None:
        """Check the child against its limits. Raises ChildEnded, after ending the child, when it is beyond a limit."""
        with suppress(OSError):  # nothing there
            if os.read(self._signs, MANY):
                self.heard()
        now, patience = time.monotonic(), self._patience()
        if now - self._heard > patience:
            self.kill()
            raise ChildEnded(f"no sign of progress for {patience / 60:.3g} minutes: it was ended")
        if now - self._looked > LOOK_SECONDS:
            self._looked = now
            self._check_memory()

    def _patience(self) -> float:
        """Seconds."""
        if self._limits.silence_minutes is not None:
            return 60 * self._limits.silence_minutes
        return max(FIRST_SECONDS, TIMES * self._longest)

    def _check_memory(self) -> None:
        taken, allowed = self._tree.memory(), self._allowed()
        if taken > allowed:
            taken = self._tree.own_memory()
        if taken > allowed:
            self.kill()
            raise ChildEnded(f"it took {_gib(taken)} of memory, where {_gib(allowed)} are allowed: it was ended")

    def _allowed(self) -> float:
        """Bytes."""
        if self._limits.memory_gib is not None:
            return self._limits.memory_gib * 2**30
        return float(self._limits.memory_share * psutil.virtual_memory().total)

    def kill(self) -> None:
        """End the child and everything that it started, at once."""
        self._tree.kill()


def how_it_ended(exit_code: int | None) -> str:
    """Say in words how a process ended; `exit_code` as `subprocess` gives it, negative after a signal."""
    if exit_code is None:
        return "its process stopped talking with dynbench before it was done: it was ended"
    if exit_code >= 0:
        return f"its process ended by itself, with exit code {exit_code}, before it was done"
    name = signal.Signals(-exit_code).name
    hint = ", as the system does when memory runs out" if -exit_code == signal.SIGKILL else ""
    return f"its process was ended by signal {name}{hint}"


def _gib(size: float) -> str:
    return f"{size / 2**30:.3g} GiB"
