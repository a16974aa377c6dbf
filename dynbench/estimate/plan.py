"""From a suite and its results folder to what there is to do, and what that costs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from dynbench.estimate.budget_cap import check_budget
from dynbench.estimate.estimate import CostEstimate, recorded_cost
from dynbench.estimate.estimates import Estimates
from dynbench.estimate.static_controls import Controls, known_controls
from dynbench.plan.expand import Suite, expand_suite, in_order
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder

State = Literal["finished", "failed", "to do"]
"""Of a run: one that failed is tried again."""


@dataclass(frozen=True)
class PlannedRun:
    """A run and how far it is. `asked`: by the suite itself; else it is a static control, or what one starts from."""

    run: Run
    state: State
    asked: bool


@dataclass(frozen=True)
class Plan:
    """What a suite comes to in a results folder, as it was when the plan was made.

    `dynbench plan` shows it and `dynbench run` does it. `planned`: the suite's runs and the static controls that can be
    planned by now, each after the run whose weights it needs.
    """

    suite: Suite
    results: ResultsFolder
    planned: tuple[PlannedRun, ...]
    controls: Controls
    estimates: Estimates

    @property
    def runs(self) -> tuple[Run, ...]:
        """All of them."""
        return tuple(one.run for one in self.planned)

    @property
    def todo(self) -> tuple[Run, ...]:
        """Those that are not finished."""
        return tuple(one.run for one in self.planned if one.state != "finished")

    @property
    def finished(self) -> tuple[Run, ...]:
        """Return the runs that are finished."""
        return tuple(one.run for one in self.planned if one.state == "finished")

    @property
    def any_failed(self) -> bool:
        """Return whether a run has failed."""
        return any(one.state == "failed" for one in self.planned)

    @property
    def any_record(self) -> bool:
        """Whether there is something to report."""
        return bool(self.finished) or self.any_failed

    def lost(self, asked: Iterable[Run]) -> Iterator[str]:
        """Return a line for each of the runs `asked`, which all ended, whose record or arrays are not there.

        What could not start because the run that it needs failed is not lost.
        """
        states = {one.run.run_id: one.state for one in self.planned}
        for run in asked:
            state, needed = states.get(run.run_id), run.needs()
            if state == "to do" and (needed is None or states.get(needed, "finished") == "finished"):
                yield f"{run.run_id}: it ended, and its record or its weights are not in {self.results}"
            elif state == "finished" and not self.results.arrays_path(run.run_id).is_file():
                yield f"{run.run_id}: it is finished, and its arrays are not in {self.results}"

    def cost(self, one: PlannedRun) -> CostEstimate | None:
        """Return what a run costs.

        Of a finished one what its record says, unless it was estimated; None when its plugin fails. Raises UserError
        when its method does not support the backbone.
        """
        if not self.estimates.has(one.run):
            record = self.results.read(one.run.run_id) if one.state == "finished" else None
            if record is not None and record.points:
                return recorded_cost(record)
            self.estimates.prepare([one.run, *self.todo])
        return self.estimates.of(one.run)

    def costs_to_come(self) -> tuple[CostEstimate, ...]:
        """Return the costs of the runs that are to be done, but for those whose plugin fails. Raises UserError."""
        costs = (self.cost(one) for one in self.planned if one.state != "finished")
        return tuple(cost for cost in costs if cost is not None)

    def beyond(self, other: "Plan") -> tuple[Run, ...]:
        """Return the runs that `other` does not have, in order."""
        there = {run.run_id for run in other.runs}
        return tuple(run for run in self.runs if run.run_id not in there)

    def again(self) -> "Plan":
        """Plan again, as the results folder is now: other runs are finished, more controls can be planned."""
        return _plan(self.suite, tuple(one.run for one in self.planned if one.asked), self.results, self.estimates)


def make_plan(suite: Suite, results: ResultsFolder) -> Plan:
    """Plan the suite.

    Raises UserError, with file and line, for unknown names, parameters that do not fit, and runs that would exceed the
    suite's budget.
    """
    runs, estimates = expand_suite(suite), Estimates(suite.file.limits)
    check_budget(suite, runs, estimates)
    return _plan(suite, runs, results, estimates)


def _plan(suite: Suite, asked: Sequence[Run], results: ResultsFolder, estimates: Estimates) -> Plan:
    controls = known_controls(suite, asked, results, estimates)
    by_suite = {run.run_id for run in asked}
    runs = in_order((*asked, *controls.runs))
    todo = {run.run_id for run in results.unfinished(runs)}
    planned = tuple(PlannedRun(run, _state(run, results, todo), run.run_id in by_suite) for run in runs)
    return Plan(suite, results, planned, controls, estimates)


def _state(run: Run, results: ResultsFolder, todo: set[str]) -> State:
    if run.run_id not in todo:
        return "finished"
    record = results.read(run.run_id)
    return "failed" if record is not None and record.status == "failed" else "to do"
