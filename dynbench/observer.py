"""What happens during a suite, for those who watch: the progress display, the tracker, tests."""

from collections.abc import Sequence

from dynbench.plan.run import Run
from dynbench.record.schema import EpochRecord, Record


class Observer:
    """Does nothing at every event; override what you want to see."""

    def suite_started(self, runs: Sequence[Run], finished: Sequence[Run]) -> None:
        """Tell that a suite begins.

        `runs` are all of the suite's, `finished` those of them that have a record already.
        """

    def run_started(self, run: Run) -> None:
        """Tell that a run begins."""

    def run_placed(self, run: Run, node: str) -> None:
        """Tell, where several are under way, that `node` makes the run, again after another was lost with it."""

    def stage_started(self, run: Run, stage: str, epochs: int, done: int, steps: int) -> None:
        """Tell that a stage of `epochs` epochs of `steps` steps begins, or continues after `done` epochs."""

    def steps_done(self, epoch: int, step: int, loss: float) -> None:
        """Tell that `step` steps of epoch number `epoch` are done; `loss` is their mean."""

    def steps_done_of(self, run: Run, epoch: int, step: int, loss: float) -> None:
        """Tell in place of `steps_done` where several runs are under way."""

    def epoch_finished(self, run: Run, history: Sequence[EpochRecord]) -> None:
        """Tell that an epoch has finished: `history` ends with the epoch that has just finished."""

    def timing_started(self, run: Run) -> None:
        """Tell that the run is trained and evaluated; its latency is measured now."""

    def timing_failed(self, run: Run, reason: str) -> None:
        """Tell that the latency could not be measured; the run is finished without."""

    def run_finished(self, record: Record) -> Record:
        """Tell that a run's record is about to be written, finished or failed; return it, with what you add to it."""
        return record

    def run_timed(self, record: Record) -> Record:
        """Tell that the record, with latencies, of a run that had finished without is about to be written.

        As `run_finished`.
        """
        return record

    def waiting(self, run: Run) -> None:
        """Another process works on the only runs left."""


class Observers(Observer):
    """Several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        self._all = observers

    def suite_started(self, runs: Sequence[Run], finished: Sequence[Run]) -> None:
        for observer in self._all:
            observer.suite_started(runs, finished)

    def run_started(self, run: Run) -> None:
        """Tell all observers that a run begins."""
        for observer in self._all:
            observer.run_started(run)

    def run_placed(self, run: Run, node: str) -> None:
        for observer in self._all:
            observer.run_placed(run, node)

    def stage_started(self, run: Run, stage: str, epochs: int, done: int, steps: int) -> None:
        for observer in self._all:
            observer.stage_started(run, stage, epochs, done, steps)

    def steps_done(self, epoch: int, step: int, loss: float) -> None:
        for observer in self._all:
            observer.steps_done(epoch, step, loss)

    def steps_done_of(self, run: Run, epoch: int, step: int, loss: float) -> None:
        for observer in self._all:
            observer.steps_done_of(run, epoch, step, loss)

    def epoch_finished(self, run: Run, history: Sequence[EpochRecord]) -> None:
        for observer in self._all:
            observer.epoch_finished(run, history)

    def timing_started(self, run: Run) -> None:
        for observer in self._all:
            observer.timing_started(run)

    def timing_failed(self, run: Run, reason: str) -> None:
        for observer in self._all:
            observer.timing_failed(run, reason)

    def run_finished(self, record: Record) -> Record:
        for observer in self._all:
            record = observer.run_finished(record)
        return record

    def run_timed(self, record: Record) -> Record:
        for observer in self._all:
            record = observer.run_timed(record)
        return record

    def waiting(self, run: Run) -> None:
        for observer in self._all:
            observer.waiting(run)
