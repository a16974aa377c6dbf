"""Makes every run of a suite, as many at once as there are slots.

The work is shared with other processes on the same results folder, as `dynbench.launch.sequential` does it: whoever
holds a run's lock has it made.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from dynbench.context import Context
from dynbench.errors import UserError
from dynbench.execute import complete
from dynbench.latency.timer import Timer
from dynbench.launch.ray.messages import Files, Message, NodeAnswer, Order, Pool, unpack_files
from dynbench.launch.ray.node import inputs
from dynbench.launch.ray.schedule import Schedule
from dynbench.launch.ray.timing import time_runs
from dynbench.launch.sequential import WAIT_SECONDS, left_out_line, raise_problems
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder, RunTaken
from dynbench.record.schema import Record


class FanoutRunner:
    """Has made what is not finished, each run tried once; as `SuiteRunner` in all else.

    Records, tracking and timing are the driver's: nodes train and evaluate.
    """

    def __init__(self, runs: Sequence[Run], context: Context, timer: Timer | None, pool: Pool, order: Order) -> None:
        """`order`: the pattern of all orders, its run any."""
        self._runs, self._context, self._timer, self._pool, self._pattern = runs, context, timer, pool, order
        self._locks: dict[str, ExitStack] = {}
        self._placed: set[str] = set()
        self._problems: list[UserError] = []
        self.left_out: list[str] = []
        """One line for each run that could not start because the one that it needs failed."""

    def run(self) -> tuple[Record, ...]:
        """Do everything, then time it, then return the records of all runs.

        When a run meets something that the user has to fix, the others are done first; then the UserError is raised.
        """
        schedule = self._schedule()
        try:
            while not schedule.over:
                self._step(schedule)
        finally:
            while self._locks:
                self._locks.popitem()[1].close()
        self.left_out += [left_out_line(run, needed) for run, needed in schedule.left_out]
        if self._timer is not None:
            time_runs(self._runs, self._context, self._timer)
        raise_problems(self._problems)
        return self._context.results.records_of(self._runs)

    def _schedule(self) -> Schedule:
        todo = self._context.results.unfinished(self._runs)
        schedule, ours = Schedule(todo), {run.run_id for run in self._runs}
        for run in todo:
            needed = run.needs()
            if needed is not None and needed not in ours and not self._context.weights(needed).is_file():
                schedule.leave_out(run, needed)
        return schedule

    def _step(self, schedule: Schedule) -> None:
        """Fill the slots, pass on what happened, and take what has come back."""
        ready = schedule.ready()
        free = self._pool.slots() - len(schedule.under_way) if ready else 0
        for run in ready:
            if free > 0 and self._try(run, schedule):
                free -= 1
        if not schedule.under_way and schedule.ready():
            self._context.observer.waiting(schedule.ready()[0])
            time.sleep(WAIT_SECONDS)
        answers = self._pool.wait(WAIT_SECONDS)
        for message in self._pool.messages():
            self._pass_on(message)
        for answer in answers:
            self._take(answer, schedule)

    def _try(self, run: Run, schedule: Schedule) -> bool:
        """Hand the run out, unless another process has it or has finished it. True: a slot is taken."""
        lock = ExitStack()
        try:
            lock.enter_context(self._context.results.lock(run.run_id))
        except RunTaken:
            return False
        except UserError as error:
            self._give_up(run, str(error), schedule)
            return False
        if not self._context.results.is_unfinished(run, self._runs):  # another process finished it just now
            lock.close()
            schedule.finish(run)
            return False
        self._locks[run.run_id] = lock
        schedule.start(run)
        self._pool.submit(replace(self._pattern, run=run), partial(_inputs, self._context.results, run.needs()))
        return True

    def _pass_on(self, message: Message) -> None:
        observer = self._context.observer
        if message.name == "run_placed" and message.run_id not in self._placed:
            self._placed.add(message.run_id)
            observer.run_started(message.arguments[0])
        getattr(observer, message.name)(*message.arguments)

    def _take(self, answer: NodeAnswer, schedule: Schedule) -> None:
        """Write down what came back of a run."""
        run = next(run for run in schedule.under_way if run.run_id == answer.run_id)
        with self._locks.pop(answer.run_id):
            if answer.record is None:
                return self._give_up(run, answer.problem or "a node sent nothing back", schedule)
            try:
                unpack_files(self._context.results, answer.files or {})
                record = complete(answer.record, self._context)
            except UserError as error:
                return self._give_up(run, str(error), schedule)
        return schedule.finish(run) if record.status == "finished" else schedule.fail(run)

    def _give_up(self, run: Run, problem: str, schedule: Schedule) -> None:
        self._problems.append(UserError(problem))
        schedule.fail(run)


def _inputs(results: ResultsFolder, needed: str | None) -> Files:
    return inputs(results, needed) if needed else {}
