"""`dynbench run`."""

import shlex
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import click

from dynbench.analysis.words import short_macs
from dynbench.cli.commands.plan import unplanned_lines
from dynbench.cli.commands.report import show_report
from dynbench.cli.console import SafeConsole
from dynbench.cli.deadline import WORK_LEFT, Deadline, TimeIsUpError
from dynbench.cli.needs import prepare_kernels
from dynbench.cli.options import (
    get_ready_to_run,
    launcher_of,
    launcher_options,
    read_suite,
    results_folder,
    suite_options,
)
from dynbench.cli.progress import progress_for
from dynbench.cli.terminal import say
from dynbench.data import load_data
from dynbench.latency.timer import Timer
from dynbench.launch.ddp.rank import Rank, rank_of_torchrun
from dynbench.launch.launcher import Launcher
from dynbench.observer import Observer, Observers
from dynbench.plan.expand import Suite
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.record.machine import commit
from dynbench.tracking.location import without_password

if TYPE_CHECKING:
    from dynbench.estimate.plan import Plan
    from dynbench.tracking import Tracker


INTERRUPTED = 130


@click.command("run")
@suite_options
@launcher_options
@click.option("--no-latency", is_flag=True, help="Time nothing, as the suite's `latency: none`.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Stop after the epoch that passes them.")
def run_command(suite: Path, results: Path | None, no_latency: bool, minutes: float | None, **options: Any) -> None:
    """Train, evaluate and time what SUITE asks for and has not been done; then print the table and draw the plots.

    An interrupted run continues from its last epoch when the same command is given again. Under torchrun its processes
    train each run together, as those of --nproc do; the first one does the rest. Exit code 0; 1 when runs failed; 2
    when something has to be fixed first; 3 when --minutes are over and work is left; 130 when interrupted.
    """
    rank = rank_of_torchrun()
    if rank is not None and rank.rank > 0:
        _follow(rank)
    get_ready_to_run()
    deadline = Deadline(minutes) if minutes is not None else None
    with _interruptible():
        read = read_suite(suite, **options)
        if no_latency:
            read = replace(read, file=read.file.model_copy(update={"latency": None}))
        with launcher_of(options, rank) as launcher:
            failed = _run(read, results_folder(read, results), launcher, deadline)
    sys.exit(1 if failed else 0)


def _follow(rank: Rank) -> NoReturn:
    """Help the first process until it is done; it says everything that there is to say."""
    from dynbench.launch.ddp.launcher import follow_torchrun

    try:
        follow_torchrun(rank)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(0)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C, SIGTERM and the end of the time end with one line: what is done is on disk."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except TimeIsUpError:
        say("time is up; the same command continues from the last finished epoch", err=True)
        sys.exit(WORK_LEFT)
    except KeyboardInterrupt:
        say("interrupted; the same command continues from the last finished epoch", err=True)
        sys.exit(INTERRUPTED)
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(suite: Suite, folder: ResultsFolder, launcher: Launcher, deadline: Observer | None) -> bool:
    """Do what is not done and show everything. True: runs failed."""
    from dynbench.estimate.plan import make_plan

    console = SafeConsole()
    plan = make_plan(suite, folder)
    if not plan.todo:
        console.print(f"{suite.file.name}: all {len(plan.runs)} runs are finished")
        show_report(folder, console, draw=False)
        _track_rest(suite, folder, plan.runs)
        _say_lines(unplanned_lines(plan.controls))
        return plan.any_failed
    tracker = _tracker(suite, folder)
    done = _do(plan, console, launcher, tracker, deadline)
    after = plan.again()
    lost = list(after.lost(done.asked))
    if tracker is not None and tracker.problem is None:
        _track_rest(suite, folder, plan.runs)
    if after.any_record:
        _show(suite, folder, tracker, console)
    _say_lines(f"left out: {line}" for line in done.left_out)
    _say_lines(f"lost: {line}; the same command makes it again" for line in lost)
    _say_lines(unplanned_lines(after.controls))
    return bool(done.left_out) or bool(lost) or after.any_failed


def _say_lines(lines: Iterable[str]) -> None:
    for line in lines:
        say(line, err=True)


def _tracker(suite: Suite, folder: ResultsFolder) -> "Tracker | None":
    """What tells MLflow, where the suite asks for it."""
    from dynbench.tracking import Tracker

    asked = suite.file.tracking
    return Tracker(folder, asked.uri, asked.seconds) if asked.backend == "mlflow" else None


def _track_rest(suite: Suite, folder: ResultsFolder, runs: Sequence[Run]) -> None:
    """Send to MLflow what an earlier command began to send and did not end, where the suite asks for it."""
    from dynbench.tracking import send_rest

    asked = suite.file.tracking
    problem = send_rest(folder, runs, asked.uri, asked.seconds) if asked.backend == "mlflow" else None
    _say_lines([problem] if problem else [])


class _Done(NamedTuple):
    """`asked`: the runs that were to be finished by now.

    `left_out`: a line for each that was left out because of another's failure.
    """

    asked: tuple[Run, ...]
    left_out: list[str]


def _do(
    plan: "Plan", console: SafeConsole, launcher: Launcher, tracker: "Tracker | None", deadline: "Observer | None"
) -> _Done:
    """Train, evaluate and time what the plan has to do, then the controls that can be planned by then."""
    from dynbench.context import Context

    # What can be wrong is better known before hours of training than after, and before anything is written.
    suite, folder = plan.suite, plan.results
    place = launcher.place(suite)
    for note in load_data(suite.file.data).notes:  # first: the process that estimates is still importing
        say(note, err=True)
    training = sum(cost.own_train_macs for cost in plan.costs_to_come())
    folder.check_writable()
    console.print(
        f"{suite.file.name}: {len(plan.runs)} runs, {len(plan.finished)} finished; about "
        f"{short_macs(training)} MACs of "
        f"training on {place.words}; results in {folder}",
        soft_wrap=True,
    )
    prepare_kernels(console, str(place.device))
    progress = progress_for(console, place.several)
    observers = Observers(*filter(None, (progress, tracker, deadline)))  # the last: the others have heard what it ends
    observers.suite_started(plan.runs, plan.finished)
    root, limits, protocol = suite.file.data.root, suite.file.limits, suite.file.latency
    context = Context(folder, place.device, root, suite.file.evaluation, observers, _command_line(), commit())
    timer = Timer(folder, protocol, str(place.device), root, _command_line(), limits) if protocol else None
    try:
        left_out = list(launcher.launch(plan.runs, context, timer, limits))
        more = plan.again().beyond(plan)
        if more:
            observers.suite_started((*plan.runs, *more), plan.runs)
            left_out += launcher.launch(more, context, timer, limits)
    finally:
        progress.close()
        if tracker and tracker.problem:
            say(tracker.problem, err=True)
    return _Done((*plan.runs, *more), left_out)


def _command_line() -> str:
    """The command as given, for the record; records are shared, so passwords in a tracking URI are left out.

    Names of files need not be text, a record is.
    """
    given = shlex.join(["dynbench", *sys.argv[1:]])
    return without_password(given.encode(errors="backslashreplace").decode())


def _show(suite: Suite, folder: ResultsFolder, tracker: "Tracker | None", console: SafeConsole) -> None:
    """The final table, the plots, and where they are; MLflow gets those too, unless it was waited for in vain."""
    show_report(folder, console, draw=True)
    if tracker is not None and not tracker.is_quiet:
        from dynbench.tracking import log_plots

        problem = log_plots(folder, suite.file.name, suite.file.tracking.uri)
        if problem:
            say(problem, err=True)
