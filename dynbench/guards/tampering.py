"""Whether the harness, the counter and the clock are still what they were before a plugin was loaded."""

import importlib
import pkgutil
import sys
import warnings
from collections.abc import Iterator, Mapping, Set
from functools import cache, cached_property
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from dynbench.errors import AuditFailed
from dynbench.guards.switches import switches


class Exempt(NamedTuple):
    """A module or package of dynbench that is not sealed."""

    module: str
    reason: str


EXEMPT = (
    Exempt("dynbench.__main__", "importing it starts the command line"),
    Exempt("dynbench.cli", "it stands above whatever makes a run, and shows what was recorded"),
    Exempt("dynbench.analysis.columns", "pandas, half a second at the start of every run; it tells what was recorded"),
    Exempt("dynbench.report.page", "it needs the plots' colours, so Matplotlib; it shows what was recorded"),
    Exempt("dynbench.report.report_files", "it draws the plots, and needs what they need"),
    Exempt("dynbench.report.plots", "Matplotlib, a second at the start of every run; it draws what was recorded"),
    Exempt("dynbench.kernels.triton.kernels", "Triton, which is not everywhere; what calls it is sealed"),
)
COUNTERS = (
    "fvcore.nn.flop_count",
    "fvcore.nn.jit_analysis",
    "fvcore.nn.jit_handles",
    "torch.profiler",
    "torch.utils.flop_counter",
)
"""Modules of others that are sealed as dynbench's are: every function, class and constant."""
OTHERS = {
    "time": ("perf_counter", "time"),
    "numpy": ("array_equal", "asarray", "empty", "mean", "median", "percentile"),
    "torch": ("cat", "equal", "no_grad", "inference_mode", "randperm", "stack", "topk", "zeros"),
    "torch.cuda": ("synchronize",),
    "torch.distributed": ("all_gather_object", "all_reduce", "broadcast", "broadcast_object_list"),
    "torch.nn.functional": ("conv2d", "cross_entropy", "linear"),
    "torch.optim.optimizer": ("register_optimizer_step_post_hook",),
    "torch.utils._python_dispatch": ("TorchDispatchMode", "_disable_current_modes"),
}
PLAIN = (str, int, float, tuple, frozenset)
"""What is the same when it is equal, and cannot be changed in place. Anything else has to be the same object."""
TENSOR_METHODS = ("abs", "argmax", "cpu", "max", "mean", "numpy", "round", "sum", "to", "tolist", "topk")


@cache
def sealed_modules() -> tuple[str, ...]:
    """Return the names of all modules of dynbench but those that are `EXEMPT`. None is imported for it."""
    exempt = {one.module for one in EXEMPT}
    return ("dynbench", *_below("dynbench", Path(__file__).parents[1], exempt))


def _below(package: str, folder: Path, exempt: Set[str]) -> Iterator[str]:
    for module in pkgutil.iter_modules([str(folder)], f"{package}."):
        if module.name not in exempt:
            yield module.name
            if module.ispkg:
                yield from _below(module.name, folder / module.name.rpartition(".")[2], exempt)


@cache
def seal() -> Mapping[str, Any]:
    """Return everything as it was the first time that this was called: before the first plugin is imported."""
    return dict(_parts())


def verify(when: str) -> None:
    """Check that nothing has changed since `seal`.

    Raises AuditFailed when something is not what it was, and RuntimeError when `seal` was never called: what is looked
    at for the first time now cannot be compared.
    """
    if not seal.cache_info().currsize:
        raise RuntimeError(f"{when}, nothing can be compared: seal() was not called before the plugin was loaded")
    now = dict(_parts())
    for name, before in seal().items():
        if name not in now or not _same(now[name], before):
            raise AuditFailed(f"{when}, {name} is not what it was before the plugin was loaded")


def own_formulas() -> tuple[str, ...]:
    """Return operators whose FLOPs are counted by a formula that is neither torch's nor dynbench's.

    A plugin registered it.
    """
    from torch.utils.flop_counter import flop_registry

    return tuple(
        sorted(
            str(operator)
            for operator, formula in flop_registry.items()
            if getattr(formula, "__module__", "").partition(".")[0] not in {"torch", "dynbench"}
        )
    )


def _same(now: Any, before: Any) -> bool:
    return now is before or (isinstance(before, PLAIN) and bool(now == before))


def _parts() -> Iterator[tuple[str, Any]]:
    """Names and what they stand for: objects, and the code of functions, which can be exchanged in place."""
    for name in (*sealed_modules(), *COUNTERS):
        yield from _of_module(_imported(name))
    yield from switches().items()
    for name, attributes in OTHERS.items():
        module = importlib.import_module(name)
        for attribute in attributes:
            yield from _of(f"{name}.{attribute}", getattr(module, attribute))
    import torch
    from torch.utils.flop_counter import flop_registry

    for method in TENSOR_METHODS:
        yield f"torch.Tensor.{method}", getattr(torch.Tensor, method)
    for operator, formula in flop_registry.items():
        if getattr(formula, "__module__", "") == "torch.utils.flop_counter":
            yield f"the FLOP formula of {operator}", formula


def _imported(name: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore warns when it is imported
        return importlib.import_module(name)


def _of_module(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name, value in list(vars(module).items()):
        if name.isupper():
            yield from _of_constant(f"{module.__name__}.{name}", value)
        if callable(value) or isinstance(value, ModuleType):
            yield from _of(f"{module.__name__}.{name}", value, own=getattr(value, "__module__", "") == module.__name__)


def _of_constant(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    yield name, value
    if isinstance(value, dict):
        yield f"the content of {name}", tuple(value.items())
    elif isinstance(value, set):
        yield f"the content of {name}", frozenset(value)
    elif isinstance(value, list):
        yield f"the content of {name}", tuple(value)


def _of(name: str, value: Any, own: bool = False) -> Iterator[tuple[str, Any]]:
    at_home = own or not str(getattr(value, "__module__", "")).startswith("dynbench.")
    if isinstance(value, FunctionType) and at_home:  # else its own module says what is in it
        yield from _of_function(name, value)
        return
    yield name, value
    if own and isinstance(value, type):
        functions = {attribute: one for attribute, part in vars(value).items() if (one := _function_of(part))}
        yield f"what is in {name}", frozenset(functions)  # one that is put in may stand before an inherited one
        for attribute, part in vars(value).items():
            if isinstance(part, PLAIN) and not attribute.startswith("__"):
                yield f"{name}.{attribute}", part
        for attribute, function in functions.items():
            yield from _of_function(f"{name}.{attribute}", function)
    elif at_home and isinstance(wrapped := getattr(value, "__wrapped__", None), FunctionType):  # by `cache`
        yield f"the code of {name}", wrapped.__code__


def _function_of(part: Any) -> FunctionType | None:
    """A method, or the function of a property, class method, static method or cached property."""
    if isinstance(part, property):
        part = part.fget
    elif isinstance(part, classmethod | staticmethod):
        part = part.__func__
    elif isinstance(part, cached_property):
        part = part.func
    return part if isinstance(part, FunctionType) else None


def _of_function(name: str, function: FunctionType) -> Iterator[tuple[str, Any]]:
    yield name, function
    yield f"the code of {name}", function.__code__
    yield f"the defaults of {name}", (*(function.__defaults__ or ()), *sorted((function.__kwdefaults__ or {}).items()))
    wrapped = getattr(function, "__wrapped__", None)
    if isinstance(wrapped, FunctionType):  # by `contextmanager`: it is what runs
        yield f"the code in {name}", wrapped.__code__
