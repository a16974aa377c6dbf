"""How long MLflow may hold up a run, in all, whatever it does: keep silent, or answer a byte a second."""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

SECONDS = 60.0
"""For one run, or one upload of plots."""


class Patience:
    """This many seconds, for everything that is done with it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = self._left = seconds

    def wait_for(self, work: Callable[[], T]) -> T:
        """Return `work()`, raising what it raises.

        It is done in a thread, which is left behind when the seconds are over: nothing else ends a wait for a server
        that says a little now and then. Raises TimeoutError.
        """
        answers: list[tuple[Any, BaseException | None]] = []
        thread = threading.Thread(target=_answer, args=(work, answers), daemon=True)
        started = time.monotonic()
        if self._left > 0:
            thread.start()
            thread.join(self._left)
            self._left -= time.monotonic() - started
        if not answers:
            self._left = 0.0
            raise TimeoutError(f"no answer within {self._seconds:g} seconds, which is what a run may wait in all")
        answer, error = answers[0]
        if error is not None:
            raise error
        return answer  # type: ignore[no-any-return]


def _answer(work: Callable[[], Any], answers: list[tuple[Any, BaseException | None]]) -> None:
    try:
        answers.append((work(), None))
    except BaseException as error:
        answers.append((None, error))
