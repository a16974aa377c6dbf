"""The options that `run` and `plan` share: a suite file and what to change in it."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from ruamel.yaml.comments import CommentedSeq

from dynbench.errors import UserError, did_you_mean
from dynbench.isolate.call import get_ready
from dynbench.launch.ddp.rank import Rank
from dynbench.launch.launcher import Launcher
from dynbench.launch.sequential import SequentialLauncher
from dynbench.plan.expand import Suite
from dynbench.record.folder import ResultsFolder
from dynbench.suite.locate import Place
from dynbench.suite.read import parse_setting, parse_yaml, place_of, plain, read_text, set_value, validate
from dynbench.suite.schema import DEVICE, BackboneSpec, DataSpec

if TYPE_CHECKING:
    from dynbench.launch.ray.cluster import Fanout


_OPTIONS = (
    click.argument("suite", type=click.Path(path_type=Path)),
    click.option("--device", help="auto, cpu, cuda or cuda:N."),
    click.option("--seeds", help="Comma-separated, for example 0,1,2."),
    click.option("--methods", help="Comma-separated; only these of the suite's methods."),
    click.option("--epochs", type=click.IntRange(min=1), help="Epochs of the recipe."),
    click.option("--data", type=click.Path(path_type=Path), help="Folder that holds the data set."),
    click.option("--results", type=click.Path(path_type=Path), help="Results folder [results/runs/SUITE]."),
    click.option("--tracking", help="mlflow or none."),
    click.option("--tracking-uri", help="MLflow tracking URI."),
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any key, as recipe.batch_size=64."),
)

FILE = click.Path(dir_okay=False, path_type=Path)
"""Not a folder; whoever reads it says when it is missing."""

_KEYS = {
    "device": "device",
    "seeds": "seeds",
    "epochs": "recipe.epochs",
    "data": "data.root",
    "tracking": "tracking.backend",
    "tracking_uri": "tracking.uri",
}
"""What an option sets."""


def suite_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the suite argument and the common overrides."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_ESTIMATING = ("dynbench.estimate.estimates", "torch._dynamo")


def get_ready_to_estimate() -> None:
    """Get a child process ready for a command that makes a plan, before torch is imported here.

    The child imports torch at the same time, and also what torch would import at the first step, which takes as long
    again.
    """
    get_ready(*_ESTIMATING)


def get_ready_to_run() -> None:
    """Get ready as `get_ready_to_estimate` does, for a command that also makes and times the runs.

    Each run is made in a child process or two, which would import torch again.
    """
    get_ready(*_ESTIMATING, "dynbench.launch.isolated", "dynbench.latency.timing_process")


def read_suite(path: Path, **options: Any) -> Suite:
    """Return the suite at `path` with the command line's overrides. Raises UserError with file:line."""
    document = parse_yaml(read_text(path), str(path))
    changed = _override(document, options) if isinstance(document, dict) and document else {}
    file, locator = validate(document, str(path), changed)
    return Suite(file, locator)


def _override(document: Any, options: dict[str, Any]) -> dict[Place, str]:
    """Change the document as the options say; returns which option set which place."""
    if options.get("methods") is not None:
        document["methods"] = _chosen(document.get("methods"), options["methods"])
    changed = {}
    for option, place, value in _changes(options):
        set_value(document, place, value, option)
        changed[place] = option
    return changed


def _changes(options: dict[str, Any]) -> Iterator[tuple[str, Place, Any]]:
    """(option, place, value) of everything that the options set. `--set data=cifar10` does not undo `--data`."""
    for setting in options.get("settings") or ():
        place, value = parse_setting(setting)
        yield f"--set {setting}", place, value
    for name, key in _KEYS.items():
        value = options.get(name)
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            yield option, place_of(key), _seeds(value) if name == "seeds" else _plain(value)


def _plain(value: Any) -> Any:
    """As a suite would say it."""
    return str(value) if isinstance(value, Path) else value


def _seeds(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"--seeds {text}: expected whole numbers, for example 0,1,2") from error


def _chosen(entries: Any, text: str) -> Any:
    """The suite's entries for the named methods, with the lines they stand on."""
    if not isinstance(entries, CommentedSeq):
        return entries
    wanted = [name.strip() for name in text.split(",")]
    names = [entry.get("name") if isinstance(entry, dict) else entry for entry in map(plain, entries)]
    for name in wanted:
        if name not in names:
            raise UserError(f'--methods {text}: the suite has no "{name}"; {did_you_mean(name, map(str, names))}')
    chosen = [index for index, name in enumerate(names) if name in wanted]
    kept = CommentedSeq(entries[index] for index in chosen)
    for index, before in enumerate(chosen):
        kept.lc.add_idx_line_col(index, entries.lc.data[before])
    return kept


def results_folder(suite: Suite, results: Path | None) -> ResultsFolder:
    """Return where the suite's results go."""
    return ResultsFolder(results or Path("results") / "runs" / suite.file.name)


LOCAL, RAY = "local", "ray"

_LAUNCHER_OPTIONS = (
    click.option("--nproc", type=click.IntRange(min=1), metavar="N", help="N processes train each run, a device each."),
    click.option("--launcher", type=click.Choice([LOCAL, RAY]), help="local, or ray: runs at once on a Ray cluster."),
    click.option("--engine", "launcher", type=click.Choice([LOCAL, RAY]), hidden=True),  # its name until 0.1
    click.option("--address", help="Of the Ray cluster [RAY_ADDRESS, else the one started on this machine]."),
    click.option("--workers", type=click.IntRange(min=1), metavar="N", help="N runs at once on this machine, by Ray."),
    click.option("--gpus-per-run", type=click.FloatRange(min=0), help="With Ray [1 on cuda, else 0]."),
    click.option(
        "--cpus-per-run",
        type=click.IntRange(min=1),
        help="With Ray: cores of a run, and its threads [an equal share with --workers, its GPU's share, else 1].",
    ),
)


def launcher_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `launcher_of`."""
    for option in reversed(_LAUNCHER_OPTIONS):
        command = option(command)
    return command


def launcher_of(options: dict[str, Any], rank: Rank | None) -> Launcher:
    """Return the launcher that the command line asks for, in a process that torchrun may have given a `rank`.

    Raises UserError when options contradict each other.
    """
    fanout, processes = _fanout(options), _processes(options, rank)
    if fanout is not None:
        if processes is not None:
            raise UserError("--launcher ray and --workers give each run one process; leave out --nproc and torchrun")
        from dynbench.launch.ray.launcher import RayLauncher

        return RayLauncher(fanout)
    if processes is not None:
        from dynbench.launch.ddp.launcher import DdpLauncher

        return DdpLauncher(processes)
    return SequentialLauncher()


def _processes(options: dict[str, Any], rank: Rank | None) -> Rank | int | None:
    """Those that train each run together; None: there is one."""
    nproc: int | None = options.get("nproc")
    if rank is not None and nproc is not None:
        raise UserError("torchrun says how many processes there are; leave out --nproc")
    return rank or (nproc if nproc is not None and nproc > 1 else None)


def _fanout(options: dict[str, Any]) -> "Fanout | None":
    """Raises UserError when options contradict each other."""
    from dynbench.launch.ray.cluster import AUTO, Fanout

    address, workers = options.get("address"), options.get("workers")
    cpus, gpus = options.get("cpus_per_run"), options.get("gpus_per_run")
    if workers is not None:
        if address is not None or options.get("launcher") == LOCAL:
            raise UserError("--workers N is this machine by Ray; leave out --address and --launcher local")
        return Fanout(workers=workers, cpus=cpus, gpus=gpus)
    if options.get("launcher") == RAY:
        return Fanout(address=address or AUTO, cpus=cpus, gpus=gpus)
    if (address, cpus, gpus) != (None, None, None):
        raise UserError("--address, --cpus-per-run and --gpus-per-run are for --launcher ray")
    return None


_RULE_OPTIONS = (
    click.option("--suite", type=click.Path(path_type=Path), help="Take the rules under `check:` of this suite."),
    click.option(
        "--rule", "rules", multiple=True, metavar="METRIC=LIMIT", help="As test_top1=-0.5pt; METRIC=none drops a rule."
    ),
)


def rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what is compared, and how strictly."""
    for option in reversed(_RULE_OPTIONS):
        command = option(command)
    return command


def chosen_rules(base: Mapping[str, str], suite: Path | None, rules: Sequence[str]) -> dict[str, str]:
    """Return `base`, overridden by the suite, overridden by the command line, metric by metric. Raises UserError."""
    texts: dict[str, str] = {**base, **(read_suite(suite).file.check.given if suite else {})}
    for rule in rules:
        name, equals, text = rule.partition("=")
        if not equals:
            raise UserError(f"--rule {rule}: expected METRIC=LIMIT, for example test_top1=-0.5pt")
        texts[name.strip()] = text.strip()
    return {name: text for name, text in texts.items() if text != "none"}


def numbers(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    """Comma-separated, finite."""
    try:
        found = tuple(float(part) for part in text.split(",")) if text else None
    except ValueError as error:
        raise click.BadParameter("expected comma-separated numbers") from error
    if found and not all(map(isfinite, found)):
        raise click.BadParameter("expected finite numbers")
    return found


def _positive(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    found = numbers(context, parameter, text)
    if found and min(found) <= 0:
        raise click.BadParameter("expected numbers above 0")
    return found


def _width(context: click.Context, parameter: click.Parameter, width: float) -> float:
    if not (isfinite(width) and width > 0):
        raise click.BadParameter("expected a number above 0")
    return width


def device_name(context: click.Context, parameter: click.Parameter, text: str) -> str:
    """Return the name of the device, as in a suite's `device`."""
    if not re.match(DEVICE, text):
        raise click.BadParameter("expected auto, cpu, cuda or cuda:N")
    return text


_PARAMETERS = (
    click.argument("weights", type=FILE),
    click.option("--backbone", required=True, help="For example resnet32."),
    click.option("--width", default=1.0, show_default=True, callback=_width),
    click.option("--dataset", default="cifar10", show_default=True),
    click.option("--data", type=click.Path(path_type=Path), help="Folder that holds the data set."),
    click.option("--mean", callback=numbers, help="Normalisation, per channel, as 0.485,0.456,0.406."),
    click.option("--std", callback=_positive, help="Normalisation, per channel."),
    click.option("--device", default="auto", show_default=True, callback=device_name),
    click.option("--batch-size", default=500, show_default=True, type=click.IntRange(min=1)),
)


@dataclass(frozen=True)
class WeightsOptions:
    """Dense backbone weights in a file, and on what and how to evaluate them."""

    weights: Path
    backbone: BackboneSpec
    data: DataSpec
    device: str
    batch_size: int


def weights_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add options for weights: the command gets what they say as its first argument."""

    @wraps(command)
    def gathered(
        weights: Path,
        backbone: str,
        width: float,
        dataset: str,
        data: Path | None,
        mean: tuple[float, ...] | None,
        std: tuple[float, ...] | None,
        device: str,
        batch_size: int,
        **others: Any,
    ) -> None:
        spec = BackboneSpec(name=backbone, width=width)
        split = DataSpec(name=dataset, root=data, mean=mean, std=std)
        command(WeightsOptions(weights, spec, split, device, batch_size), **others)

    wrapped: Callable[..., Any] = gathered
    for parameter in reversed(_PARAMETERS):
        wrapped = parameter(wrapped)
    return wrapped
