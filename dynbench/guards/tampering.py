"""Whether the harness, the counter and the clock are still what they were before a plugin was loaded."""

import importlib
import warnings
from collections.abc import Iterator
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

from dynbench.errors import AuditFailed

HARNESS = (
    "dynbench.evaluation.audit",
    "dynbench.backbones.backbone",
    "dynbench.backbones.mobilenet",
    "dynbench.backbones.residual",
    "dynbench.backbones.weights",
    "dynbench.cost",
    "dynbench.data",
    "dynbench.data.augment",
    "dynbench.data.decoders",
    "dynbench.data.epoch",
    "dynbench.data.image_files",
    "dynbench.data.pixels",
    "dynbench.data.split",
    "dynbench.process_group",
    "dynbench.evaluation.evaluate",
    "dynbench.executors.convolution",
    "dynbench.executors.folded_backbone",
    "dynbench.kernels.triton.operators",
    "dynbench.evaluation.unseen_images",
    "dynbench.guards.decoy_labels",
    "dynbench.evaluation.audit",
    "dynbench.evaluation.batch_independence",
    "dynbench.guards.optimizer_steps",
    "dynbench.guards.side_effects",
    "dynbench.guards.frozen_weights",
    "dynbench.evaluation.execution_trace",
    "dynbench.latency.checks",
    "dynbench.latency.loop",
    "dynbench.latency.figures",
    "dynbench.evaluation.evaluator",
    "dynbench.kernels.cpu.operators",
    "dynbench.record.schema",
    "dynbench.execute",
    "dynbench.train.budget",
    "dynbench.stage",
    "dynbench.train.trainer",
    "dynbench.train.ddp",
    "dynbench.train.session",
    "fvcore.nn.flop_count",
    "fvcore.nn.jit_analysis",
    "fvcore.nn.jit_handles",
    "torch.profiler",
    "torch.utils.flop_counter",
)
"""Modules of which every function, class and constant is sealed."""
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
TENSOR_METHODS = ("abs", "argmax", "cpu", "max", "mean", "numpy", "round", "sum", "to", "tolist", "topk")


@cache
def _sealed() -> dict[str, Any]:
    return dict(_parts())


def seal() -> None:
    """Remember everything as it is, the first time it is called: before the first plugin is imported."""
    _sealed()


def verify(when: str) -> None:
    """Raises AuditFailed when something is not what it was."""
    now = dict(_parts())
    for name, before in _sealed().items():
        if name not in now or not _same(now[name], before):
            raise AuditFailed(f"{when}, {name} is not what it was before the plugin was loaded")


def own_formulas() -> tuple[str, ...]:
    """Operators whose FLOPs are counted by a formula that is neither torch's nor dynbench's: somebody registered it."""
    from torch.utils.flop_counter import flop_registry

    return tuple(
        sorted(
            str(operator)
            for operator, formula in flop_registry.items()
            if getattr(formula, "__module__", "").partition(".")[0] not in {"torch", "dynbench"}
        )
    )


def _same(now: Any, before: Any) -> bool:
    return now is before or (isinstance(before, str | int | float | tuple | frozenset) and bool(now == before))


def _parts() -> Iterator[tuple[str, Any]]:
    """Names and what they stand for: objects, and the code of functions, which can be exchanged in place."""
    for name in HARNESS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fvcore warns when it is imported
            module = importlib.import_module(name)
        yield from _of_module(module)
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


def _of_module(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name, value in list(vars(module).items()):
        is_constant = name.isupper() and isinstance(value, str | int | float | tuple | frozenset)
        if is_constant or callable(value) or isinstance(value, ModuleType):
            yield from _of(f"{module.__name__}.{name}", value, own=getattr(value, "__module__", "") == module.__name__)


def _of(name: str, value: Any, own: bool = False) -> Iterator[tuple[str, Any]]:
    if isinstance(value, FunctionType):
        yield from _of_function(name, value)
        return
    yield name, value
    if own and isinstance(value, type):
        for attribute, part in list(vars(value).items()):
            function = getattr(part, "fget", None) or getattr(part, "__func__", part)
            if isinstance(function, FunctionType):
                yield from _of_function(f"{name}.{attribute}", function)


def _of_function(name: str, function: FunctionType) -> Iterator[tuple[str, Any]]:
    yield name, function
    yield f"the code of {name}", function.__code__
    yield f"the defaults of {name}", function.__defaults__
