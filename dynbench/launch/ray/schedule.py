"""Which runs can start, and which never will: knows runs alone, no machines and no files."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from dynbench.plan.run import Run


class State(Enum):
    WAITING = auto()
    UNDER_WAY = auto()
    DONE = auto()
    FAILED = auto()


@dataclass
class Schedule:
    """The states of `runs`. What a run starts from and is not among them is there already."""

    runs: Sequence[Run]
    left_out: list[tuple[Run, str]] = field(default_factory=list)
    """Runs that cannot start, each with the id of the one that failed."""
    _states: dict[str, State] = field(init=False)

    def __post_init__(self) -> None:
        self._states = {run.run_id: State.WAITING for run in self.runs}

    def ready(self) -> list[Run]:
        """Those that wait for nothing, in the order in which they were given."""
        return [run for run in self._in(State.WAITING) if self._start_of(run) is State.DONE]

    @property
    def under_way(self) -> list[Run]:
        return self._in(State.UNDER_WAY)

    @property
    def over(self) -> bool:
        return not self._in(State.WAITING) and not self.under_way

    def start(self, run: Run) -> None:
        self._states[run.run_id] = State.UNDER_WAY

    def finish(self, run: Run) -> None:
        self._states[run.run_id] = State.DONE

    def fail(self, run: Run) -> None:
        """Leaves out what starts from it, and what starts from that."""
        self._states[run.run_id] = State.FAILED
        for dependant in self._in(State.WAITING):
            if dependant.needs() == run.run_id:
                self.leave_out(dependant, run.run_id)

    def leave_out(self, run: Run, failed: str) -> None:
        """It starts from run `failed`, which did."""
        self.left_out.append((run, failed))
        self.fail(run)

    def _in(self, state: State) -> list[Run]:
        return [run for run in self.runs if self._states[run.run_id] is state]

    def _start_of(self, run: Run) -> State:
        return self._states.get(run.needs() or "", State.DONE)
