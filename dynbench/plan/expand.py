"""Suite -> runs. A run's id is a hash of everything that affects its result."""

import itertools
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from dynbench.errors import UserError, describe
from dynbench.guards.blame import as_the_plugins
from dynbench.plan.rehearse import rehearse
from dynbench.plan.run import Run, Start
from dynbench.registry import find, load_method
from dynbench.suite.locate import Locator, Place, explain
from dynbench.suite.recipe import Augmentation
from dynbench.suite.schema import BackboneSpec, MethodEntry, SuiteFile

if TYPE_CHECKING:
    from dynbench.method import MethodConfig


@dataclass(frozen=True)
class Suite:
    """A suite file that was read, with the places of its keys for error messages."""

    file: SuiteFile
    locator: Locator


def expand_suite(suite: Suite) -> tuple[Run, ...]:
    """Return every run of the suite, each after the run whose weights it needs.

    Raises UserError, with file and line, for unknown names and parameters that do not fit.
    """
    _check_count(suite, len(suite.file.methods))
    _check_data(suite)
    _check_backbones(suite)
    _check_recipe(suite)
    _check_methods(suite)
    rehearse(suite.file, suite.locator)
    return in_order(run for _, run in _asked(suite))


def in_order(runs: Iterable[Run]) -> tuple[Run, ...]:
    """Return each run once, after the run whose weights it needs.

    Otherwise they are in the order in which they come.
    """
    once: dict[str, Run] = {}
    for run in runs:
        once.setdefault(run.run_id, run)
    needs = {run_id: once.keys() & {run.needs()} for run_id, run in once.items()}
    return tuple(once[run_id] for run_id in TopologicalSorter(needs).static_order())


def places(suite: Suite) -> dict[str, Place]:
    """Return where in the suite each run, by its id, is first asked for."""
    found: dict[str, Place] = {}
    for place, run in _asked(suite):
        found.setdefault(run.run_id, place)
    return found


def _asked(suite: Suite) -> Iterator[tuple[Place, Run]]:
    """Every entry's runs, with the entry's place; one that several ask for comes more than once."""
    sweeps = [_sweeps(entry, suite.locator, index) for index, entry in enumerate(suite.file.methods)]
    _check_count(suite, sum(math.prod(map(len, one.values())) for one in sweeps))
    configs = [_configs(suite, index, one) for index, one in enumerate(sweeps)]
    for backbone, seed in itertools.product(suite.file.backbones, suite.file.seeds):
        for index, entry in enumerate(suite.file.methods):
            place: Place = ("methods", index, "params")
            with _located(suite.locator, place, entry.name):
                for config in configs[index]:
                    yield from ((place, run) for run in with_start(suite, backbone, seed, config, entry.name))


@contextmanager
def _located(locator: Locator, place: Place, method: str | None = None) -> Iterator[None]:
    """Errors get file and line; so does whatever the code of a plugin raises."""
    try:
        yield
    except UserError as error:
        own = as_the_plugins(error, load_method(method), method) if method else error
        raise UserError(f"{locator.at(place)}: {own}") from error
    except (Exception, SystemExit) as error:
        if method is None:
            raise
        raise _unplanned(locator, place, method, error) from error


def _unplanned(locator: Locator, place: Place, method: str, error: BaseException) -> UserError:
    return UserError(f'{locator.at(place)}: method "{method}" cannot be planned: {describe(error)}')


def _check_count(suite: Suite, configurations: int) -> None:
    """Raises UserError when the suite asks for more runs than it may. This many are not even listed."""
    backbones, seeds, most = len(suite.file.backbones), len(suite.file.seeds), suite.file.limits.runs
    if (runs := backbones * seeds * configurations) > most:
        raise UserError(
            f"{suite.locator.at(('seeds' if seeds > configurations else 'methods',))}: {runs:,} runs, of {backbones} "
            f"backbones, {seeds:,} seeds and {configurations:,} configurations, where limits.runs allows {most:,}"
        )


def _check_methods(suite: Suite) -> None:
    for index, entry in enumerate(suite.file.methods):
        with _located(suite.locator, ("methods", index, "name")):
            find(entry.name)


def _check_data(suite: Suite) -> None:
    from dynbench.data import dataset_info

    data = suite.file.data
    with _located(suite.locator, ("data", "name")):
        info = dataset_info(data)
    if data.validation is not None and data.validation >= info.training_images:
        raise UserError(
            f"{suite.locator.at(('data', 'validation'))}: data.validation: {data.name} has {info.training_images} "
            f"training images, {data.validation} cannot be held out of them"
        )


def _check_backbones(suite: Suite) -> None:
    from dynbench.backbones import check_backbone

    for index, backbone in enumerate(suite.file.backbones):
        with _located(suite.locator, ("backbones", index, "name")):
            check_backbone(backbone)


def _check_recipe(suite: Suite) -> None:
    """Raises UserError for what the recipe asks of images that the data set does not have."""
    from dynbench.data import dataset_info

    recipe, info = suite.file.recipe, dataset_info(suite.file.data)
    how, (_, height, width) = recipe.augmentation, info.shape
    with _located(suite.locator, ("recipe", "augmentation")):
        if how != Augmentation() and not (suite.file.data.augment and info.augment and not info.in_files):
            raise UserError(f"recipe.augmentation: images of {suite.file.data.name} are not changed in this way")
        if how.padding_mode == "reflect" and how.padding >= min(height, width):
            raise UserError(f"recipe.augmentation.padding: at most {min(height, width) - 1} pixels can be reflected")
    for index, phase in enumerate(recipe.progressive_resizing):
        with _located(suite.locator, ("recipe", "progressive_resizing", index)):
            if height != width or phase.side >= height:
                raise UserError(
                    f"recipe.progressive_resizing: images of {height}x{width} cannot be scaled down to {phase.side}"
                )


def _sweeps(entry: MethodEntry, locator: Locator, index: int) -> dict[str, list[Any]]:
    """The values of each parameter that one entry gives."""
    with _located(locator, ("methods", index, "name")):
        method = load_method(entry.name)
    with _located(locator, ("methods", index, "params"), entry.name):
        return {key: _values(method.Config, key, value) for key, value in entry.params.items()}


def _configs(suite: Suite, index: int, sweeps: dict[str, list[Any]]) -> "list[MethodConfig]":
    """The configurations that one entry asks for: the product of its sweeps."""
    name, place = suite.file.methods[index].name, ("methods", index, "params")
    config = load_method(name).Config
    combinations = [dict(zip(sweeps, values, strict=True)) for values in itertools.product(*sweeps.values())]
    try:
        return [config.model_validate(combination) for combination in combinations]
    except ValidationError as error:
        raise UserError(explain(error, suite.locator, place, config)) from error
    except Exception as error:  # of a plugin's own validator
        raise _unplanned(suite.locator, place, name, error) from error


def _values(config: "type[MethodConfig]", key: str, value: Any) -> list[Any]:
    """The values of a sweep; a list that the parameter takes as it is, is one value.

    So is one that is wrong inside, or empty: the error is then about it.
    """
    if not isinstance(value, list) or key not in config.model_fields:
        return [value]
    adapter = TypeAdapter(config.model_fields[key].rebuild_annotation())
    is_sweep = any(_fits(adapter, one) for one in value) or not _takes_lists(adapter, value)
    return value if value and is_sweep and not _fits(adapter, value) else [value]


def _fits(adapter: "TypeAdapter[Any]", value: Any) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


def _takes_lists(adapter: "TypeAdapter[Any]", value: list[Any]) -> bool:
    """Whether the type looked into the list before it refused it."""
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        return any(isinstance(part, int) for one in error.errors() for part in one["loc"])
    return True


def with_start(suite: Suite, backbone: BackboneSpec, seed: int, config: "MethodConfig", name: str) -> Iterator[Run]:
    """Yield the run of the method called `name`, after the dense run that it starts from, if any."""
    from dynbench.method import FromDense, FromFile

    method = load_method(name)(config)
    start = method.start()
    if isinstance(start, FromDense):
        dense = _dense(suite, backbone, seed, start.epochs)
        yield dense
        yield _run(suite, backbone, seed, config, name, Start(run_id=dense.run_id, epochs=dense.epochs))
    elif isinstance(start, FromFile):
        yield _run(suite, backbone, seed, config, name, _start_file(Path(start.path), start.epochs))
    else:
        yield _run(suite, backbone, seed, config, name, None)


def _dense(suite: Suite, backbone: BackboneSpec, seed: int, epochs: int | None) -> Run:
    """The run of the dense backbone for `epochs`; None, or as many as the recipe's: the one of the suite itself."""
    own = None if epochs == suite.file.recipe.epochs else epochs
    return _run(suite, backbone, seed, load_method("dense").Config.model_validate({"epochs": own}), "dense", None)


def _start_file(path: Path, epochs: int) -> Start:
    from dynbench.backbones.weights import file_sha256

    return Start(file=str(path), sha256=file_sha256(path), epochs=epochs)


def _run(
    suite: Suite, backbone: BackboneSpec, seed: int, config: "MethodConfig", name: str, start: Start | None
) -> Run:
    method = load_method(name)(config)
    return Run(
        suite=suite.file.name,
        data=suite.file.data.model_copy(update={"root": None}),
        backbone=backbone,
        built=method.backbone(backbone),
        recipe=suite.file.recipe,
        seed=seed,
        method=name,
        method_version=method.version,
        params=config.model_dump(mode="json"),
        given=config.model_dump(mode="json", exclude_defaults=True),
        start=start,
    )
