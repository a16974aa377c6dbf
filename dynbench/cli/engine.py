"""What `dynbench run` has its runs made by: this process, one after another, or Ray, many at once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import click

from dynbench.errors import UserError
from dynbench.plan import Run

if TYPE_CHECKING:
    import torch
    from rich.console import Console

    from dynbench.cli.progress import Display
    from dynbench.context import Context
    from dynbench.fanout.request import Fanout
    from dynbench.latency.measure import Timer
    from dynbench.record import Record
    from dynbench.suite.schema import Limits

LOCAL, RAY = "local", "ray"

_OPTIONS = (
    click.option("--engine", type=click.Choice([LOCAL, RAY]), help="local, or ray: runs at once on a Ray cluster."),
    click.option("--address", help="Of the Ray cluster [RAY_ADDRESS, else the one started on this machine]."),
    click.option("--workers", type=click.IntRange(min=1), metavar="N", help="N runs at once on this machine, by Ray."),
    click.option("--gpus-per-run", type=click.FloatRange(min=0), help="With Ray [1 on cuda, else 0]."),
    click.option(
        "--cpus-per-run",
        type=click.IntRange(min=1),
        help="With Ray: cores of a run, and its threads [an equal share with --workers, its GPU's share, else 1].",
    ),
)


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of `engine_of`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class Runner(Protocol):
    """As `dynbench.suite_run.SuiteRunner`."""

    left_out: list[str]

    def add(self, runs: Sequence[Run]) -> None: ...

    def run(self) -> "tuple[Record, ...]": ...


class Engine(Protocol):
    """Makes runs."""

    def device(self, wanted: str) -> "torch.device":
        """The device that the suite asks for. Raises UserError when it is not there."""

    @property
    def at_once(self) -> str:
        """How many runs at once, in words, for the line that tells the plan."""

    def progress(self, console: "Console") -> "Display":
        """The view of runs that suits it."""

    def runner(self, runs: Sequence[Run], context: "Context", timer: "Timer | None", limits: "Limits") -> Runner: ...


class InTurn:
    """One run after another on this machine, each in a process of its own."""

    at_once = ""

    def device(self, wanted: str) -> "torch.device":
        from dynbench.device import choose_device  # noqa: PLC0415

        return choose_device(wanted)

    def progress(self, console: "Console") -> "Display":
        from dynbench.cli.progress import progress_for  # noqa: PLC0415

        return progress_for(console)

    def runner(self, runs: Sequence[Run], context: "Context", timer: "Timer | None", limits: "Limits") -> Runner:
        from dynbench.isolate.run import execute_isolated  # noqa: PLC0415
        from dynbench.suite_run import SuiteRunner  # noqa: PLC0415

        return SuiteRunner(runs, context, timer, partial(execute_isolated, limits=limits))


@contextmanager
def engine_of(options: dict[str, Any]) -> Iterator[Engine]:
    """The engine that the command line asks for; it is left with nothing of it running."""
    fanout = _fanout(options)
    if fanout is None:
        yield InTurn()
        return
    from dynbench.cli.engine_ray import OnRay  # noqa: PLC0415

    engine = OnRay(fanout)
    try:
        yield engine
    finally:
        engine.close()


def _fanout(options: dict[str, Any]) -> "Fanout | None":
    """Raises UserError when options contradict each other."""
    from dynbench.fanout.request import AUTO, Fanout  # noqa: PLC0415

    address, workers = options.get("address"), options.get("workers")
    cpus, gpus = options.get("cpus_per_run"), options.get("gpus_per_run")
    if workers is not None:
        if address is not None or options.get("engine") == LOCAL:
            raise UserError("--workers N is this machine by Ray; leave out --address and --engine local")
        return Fanout(workers=workers, cpus=cpus, gpus=gpus)
    if options.get("engine") == RAY:
        return Fanout(address=address or AUTO, cpus=cpus, gpus=gpus)
    if (address, cpus, gpus) != (None, None, None):
        raise UserError("--address, --cpus-per-run and --gpus-per-run are for --engine ray")
    return None
