"""`--minutes` stops in time, and never before something is done."""

import pytest

from dynbench.cli.deadline import Deadline, TimeIsUpError
from tests.helpers.records import Fake, make_record


def test_runs_that_begin_at_once_are_not_stopped_before_anything_is_done() -> None:
    deadline, (record, _) = Deadline(1e-9), make_record(Fake())
    for _ in range(3):
        deadline.run_started(record.run)
    with pytest.raises(TimeIsUpError):
        deadline.epoch_finished(record.run, record.history)


def test_the_next_run_does_not_begin_after_the_end_of_one() -> None:
    deadline, (record, _) = Deadline(1e-9), make_record(Fake())
    deadline.run_started(record.run)
    assert deadline.run_finished(record) is record
    with pytest.raises(TimeIsUpError):
        deadline.run_started(record.run)


def test_in_time_nothing_is_stopped() -> None:
    deadline, (record, _) = Deadline(60), make_record(Fake())
    deadline.run_started(record.run)
    deadline.epoch_finished(record.run, record.history)
    deadline.run_finished(record)
    deadline.run_started(record.run)
