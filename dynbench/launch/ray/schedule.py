"""Which runs can start, and which never will: knows runs alone, no machines and no files."""

from collections.abc import Sequence
from graphlib import TopologicalSorter

from dynbench.plan.run import Run


class Schedule:
    """The order of `runs`: each after the one that it starts from.

    What a run starts from and is not among them is there already.

    graphlib says which are ready. It does not know of failures: what starts from a failed run is never ready there, and
    is listed here as left out.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = {run.run_id: run for run in runs}
        self.left_out: list[tuple[Run, str]] = []
        """Runs that cannot start, each with the id of the one that failed."""
        self._waiting = set(self._runs)
        self._under_way: set[str] = set()
        self._sorter = TopologicalSorter({run_id: self._needs(run_id) for run_id in self._runs})
        self._sorter.prepare()
        self._ready = set(self._sorter.get_ready())

    def ready(self) -> list[Run]:
        """Return the runs that wait for nothing, in the order in which they were given."""
        return [run for run_id, run in self._runs.items() if run_id in self._ready & self._waiting]

    @property
    def under_way(self) -> list[Run]:
        """Return the runs that are being made."""
        return [run for run_id, run in self._runs.items() if run_id in self._under_way]

    @property
    def over(self) -> bool:
        """Return whether nothing is left to do or to wait for."""
        return not self._waiting and not self._under_way

    def start(self, run: Run) -> None:
        self._waiting.discard(run.run_id)
        self._under_way.add(run.run_id)

    def finish(self, run: Run) -> None:
        self._end(run)
        self._sorter.done(run.run_id)
        self._ready |= set(self._sorter.get_ready())

    def fail(self, run: Run) -> None:
        """Leave out what starts from it, and what starts from that."""
        self._end(run)
        for dependant in [self._runs[run_id] for run_id in self._runs if run_id in self._waiting]:
            if dependant.needs() == run.run_id:
                self.leave_out(dependant, run.run_id)

    def leave_out(self, run: Run, failed: str) -> None:
        """Leave a run out: it starts from run `failed`, which did."""
        self.left_out.append((run, failed))
        self.fail(run)

    def _end(self, run: Run) -> None:
        self._waiting.discard(run.run_id)
        self._under_way.discard(run.run_id)

    def _needs(self, run_id: str) -> tuple[str, ...]:
        needed = self._runs[run_id].needs()
        return (needed,) if needed in self._runs and needed is not None else ()
