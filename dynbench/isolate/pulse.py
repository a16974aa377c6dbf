"""Signs of life of a process that another one watches: a step, a batch of an evaluation, a pass of a timing."""

import os
import time
from contextlib import suppress

BETWEEN_SECONDS = 1.0
"""Signs are given no more often."""


class Pulse:
    """Gives signs into a pipe, where there is one."""

    def __init__(self) -> None:
        self._pipe: int | None = None
        self._last = 0.0

    @property
    def is_watched(self) -> bool:
        """Whether another process holds this one to limits."""
        return self._pipe is not None

    def into(self, pipe: int) -> None:
        """Give signs into the file descriptor `pipe` from now on."""
        self._pipe = pipe

    def beat(self) -> None:
        """Give a sign, unless there was one just now."""
        now = time.monotonic()
        if self._pipe is not None and now - self._last >= BETWEEN_SECONDS:
            self._last = now
            with suppress(OSError):  # nobody reads any more
                os.write(self._pipe, b".")


PULSE = Pulse()
"""Of this process."""


def alive() -> None:
    """Tell the watchers of this process that something has got done. Costs a microsecond, and nobody has to watch."""
    PULSE.beat()
