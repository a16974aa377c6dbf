"""Tries a method in a process of its own: one that hangs, dies or prints a megabyte costs a line, nothing more."""

from collections.abc import Callable, Iterator

from dynbench.contract.check import Outcome
from dynbench.contract.checks import CHECKS
from dynbench.contract.worker import Event, Request, run_checks
from dynbench.errors import UserError
from dynbench.isolate.call import call
from dynbench.isolate.watch import ChildEnded
from dynbench.suite.schema import Limits

Tell = Callable[[Outcome], None]


def try_method(request: Request, limits: Limits, tell: Tell) -> None:
    """Tell the outcome of every check, as they come. A check that is silent for longer than the limits, or takes more
    memory, is broken, and those after it are not run.

    Raises UserError when the method cannot be tried: it is unknown, does not import or does not support the backbone.
    """
    progress = _Progress(tell)
    try:
        call(run_checks, request, limits=limits, answers=progress.hear)
    except ChildEnded as error:
        if progress.begun is None:
            raise UserError(f'method "{request.target}" cannot be tried: when it was imported, {error}') from error
        for outcome in progress.unfinished(str(error)):
            tell(outcome)


class _Progress:
    """How far the child has come."""

    def __init__(self, tell: Tell) -> None:
        self.begun: str | None = None
        self._tell = tell
        self._done: set[str] = set()

    def hear(self, event: Event) -> None:
        if isinstance(event, str):
            self.begun = event
            return
        self._done.add(event.check)
        self._tell(event)

    def unfinished(self, how: str) -> Iterator[Outcome]:
        """Outcomes of the checks that the child did not come to; `how` it ended, in words."""
        for check in CHECKS:
            if check.name == self.begun and check.name not in self._done:
                yield check.outcome("broken", how)
            elif check.name not in self._done:
                yield check.outcome("not run", f'at the check "{self.begun}", {how}')
