"""Every run of a suite, in order, sharing the work with other processes on the same results folder."""

import time
from collections.abc import Sequence

from filelock import FileLock, Timeout

from dynbench.context import Context, work_folder
from dynbench.errors import UserError
from dynbench.plan import Run
from dynbench.record import Record, find_record, record_path

WAIT_SECONDS = 0.5


class SuiteRunner:
    """Runs what has no finished record yet. Each run is done by whichever process holds its lock."""

    def __init__(self, runs: Sequence[Run], context: Context) -> None:
        self._runs = {run.run_id: run for run in runs}
        self._context = context
        self._attempted: dict[str, Record] = {}

    def finished(self, run: Run) -> bool:
        """Whether the run has a finished record, and its weights if another run waits for them."""
        if run.run_id in self._attempted:
            return self._attempted[run.run_id].status == "finished"
        record = find_record(self._context.results, run.run_id)
        if record is None or record.status != "finished":
            return False
        return not self._awaited(run) or self._context.weights(run.run_id).is_file()

    def run(self) -> tuple[Record, ...]:
        """Do everything, then return the records of all runs. Raises UserError after the other runs are done
        when one of them met something that the user has to mend."""
        waiting = [run for run in self._runs.values() if not self.finished(run)]
        mend: list[UserError] = []
        while waiting:
            waiting, busy = self._round(waiting, mend)
            if waiting and busy:
                self._context.observer.waiting(waiting[0])
                time.sleep(WAIT_SECONDS)
        if mend:
            raise mend[0]
        return tuple(record for run_id in self._runs if (record := self._result(run_id)))

    def _round(self, waiting: Sequence[Run], mend: list[UserError]) -> tuple[list[Run], bool]:
        """Try each waiting run once; what another process holds is left for the next round."""
        left: list[Run] = []
        busy = True
        for run in waiting:
            needed = run.needs()
            if needed is not None and any(other.run_id == needed for other in left):
                left.append(run)
                continue
            try:
                done = self._try(run)
            except UserError as error:
                mend.append(error)
                done = True
            busy = busy and not done
            if not done:
                left.append(run)
        return left, busy

    def _try(self, run: Run) -> bool:
        """Do `run` unless another process has it. False: it has."""
        folder = work_folder(self._context.results, run.run_id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / "lock", timeout=0):
                if not self.finished(run):
                    from dynbench.run import execute  # noqa: PLC0415  (imports torch)

                    self._context.observer.run_started(run)
                    self._attempted[run.run_id] = execute(run, self._context)
        except Timeout:
            return False
        except OSError as error:
            raise UserError(f"cannot write to {folder}: {error.strerror or error}") from error
        return True

    def _awaited(self, run: Run) -> bool:
        """Whether a run without a finished record starts from this one's weights."""
        return any(
            other.needs() == run.run_id and not record_path(self._context.results, other.run_id).is_file()
            for other in self._runs.values()
        )

    def _result(self, run_id: str) -> Record | None:
        return self._attempted.get(run_id) or find_record(self._context.results, run_id)
