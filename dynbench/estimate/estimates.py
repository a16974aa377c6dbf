"""Estimates of many runs: of each configuration once, in as few child processes as plugins let us."""

from collections.abc import Iterable, Sequence

from dynbench.errors import UserError
from dynbench.estimate.estimate import CostEstimate, estimate_cost
from dynbench.guards.blame import is_of_plugin
from dynbench.isolate.call import call
from dynbench.isolate.child import Ask
from dynbench.isolate.limits import ChildEnded
from dynbench.plan.configuration import Configuration, by_configuration
from dynbench.plan.run import Run
from dynbench.registry import load_method
from dynbench.suite.schema import Limits

Answer = CostEstimate | UserError | None
"""What came of an estimate: the UserError says why the method cannot be had, None that its plugin failed."""


class Estimates:
    """What configurations will cost. Seeds differ in nothing that costs."""

    def __init__(self, limits: Limits) -> None:
        """`limits`: of each child process, which is given the time of planning."""
        self._limits = limits.while_planning
        self._known: dict[Configuration, Answer] = {}

    def has(self, run: Run) -> bool:
        """Say whether the run's configuration has been estimated."""
        return Configuration.of(run) in self._known

    def prepare(self, runs: Iterable[Run]) -> None:
        """Estimate those of the runs' configurations that are not known, all together."""
        missing = [one for one in by_configuration(runs) if one not in self._known]
        if missing:
            answers = estimate_isolated([one.run for one in missing], self._limits)
            self._known.update(zip(missing, answers, strict=True))

    def of(self, run: Run) -> CostEstimate | None:
        """Return what the run will cost; None when its plugin fails: its record will say how.

        Raises UserError when the method does not support the backbone or either is misnamed.
        """
        configuration = Configuration.of(run)
        if configuration not in self._known:
            self.prepare([run])
        found = self._known[configuration]
        if isinstance(found, UserError):
            raise found
        return found


def estimate_isolated(runs: Sequence[Run], limits: Limits) -> list[Answer]:
    """Estimate the runs in a child process.

    A plugin may take it down, perhaps not its own run only: the run that was under way then gets a child of its own,
    unless it was the first in this one, and the others one together.
    """
    found: list[Answer] = []
    while len(found) < len(runs):
        before = len(found)
        try:
            call(_estimate_all, runs[before:], limits=limits, answers=found.append)
        except (ChildEnded, OSError):
            found.append(_estimate_alone(runs[len(found)], limits) if len(found) > before else None)
    return found


def _estimate_alone(run: Run, limits: Limits) -> Answer:
    found: list[Answer] = []
    try:
        call(_estimate_all, [run], limits=limits, answers=found.append)
    except (ChildEnded, OSError):
        return None
    return found[0]


def _estimate_all(ask: Ask, runs: Sequence[Run]) -> None:
    """In the child: tell of each run as soon as it is estimated."""
    for run in runs:
        ask(_estimate(run))


def _estimate(run: Run) -> Answer:
    try:
        return estimate_cost(run)
    except (Exception, SystemExit) as error:  # a plugin may raise anything
        if isinstance(error, UserError) and not is_of_plugin(error, load_method(run.method)):
            return error
        return None
