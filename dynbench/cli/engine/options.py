"""Which engine makes the runs, as the command line says it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from dynbench.cli.engine.engine import Engine
from dynbench.cli.engine.in_turn import InTurn
from dynbench.distributed.seat import Seat
from dynbench.errors import UserError

if TYPE_CHECKING:
    from dynbench.fanout.request import Fanout

LOCAL, RAY = "local", "ray"

_OPTIONS = (
    click.option("--nproc", type=click.IntRange(min=1), metavar="N", help="N processes train each run, a device each."),
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


@contextmanager
def engine_of(options: dict[str, Any], seat: Seat | None) -> Iterator[Engine]:
    """The engine that the command line asks for, in a process that torchrun may have given a `seat`; it is left with
    nothing of it running."""
    engine = _engine(options, seat)
    try:
        yield engine
    finally:
        engine.close()


def _engine(options: dict[str, Any], seat: Seat | None) -> Engine:
    """Raises UserError when options contradict each other."""
    fanout, processes = _fanout(options), _processes(options, seat)
    if fanout is not None:
        if processes is not None:
            raise UserError("--engine ray and --workers give each run one process; leave out --nproc and torchrun")
        from dynbench.cli.engine.on_ray import OnRay  # noqa: PLC0415

        return OnRay(fanout)
    if processes is not None:
        from dynbench.cli.engine.team import Team  # noqa: PLC0415

        return Team(processes)
    return InTurn()


def _processes(options: dict[str, Any], seat: Seat | None) -> Seat | int | None:
    """Those that train each run together; None: there is one."""
    nproc: int | None = options.get("nproc")
    if seat is not None and nproc is not None:
        raise UserError("torchrun says how many processes there are; leave out --nproc")
    return seat or (nproc if nproc is not None and nproc > 1 else None)


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
