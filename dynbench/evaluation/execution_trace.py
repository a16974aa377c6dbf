"""A second witness of what an executor runs: PyTorch's execution trace.

`FlopCounterMode` sees one thread, and code can switch it off or notice it and behave. The trace is written beneath all
that, by the dispatcher, of every operator of every thread with its shapes; no mode is active while it is taken.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ExecutionTraceObserver
from torch.utils.flop_counter import flop_registry

STRANGERS_ALLOWED = frozenset({"dynbench::active"})
"""Operators without multiplications that are not PyTorch's own."""
UNCOUNTED = ("mv", "addmv", "dot", "vdot", "addr", "cdist", "_cdist", "_trilinear", "bilinear", "lstm", "gru", "rnn")
"""Of PyTorch's own: they multiply and accumulate without a formula, as do those that begin so:"""
UNCOUNTED_PREFIXES = ("fft_", "_fft_", "linalg_", "quantized_", "mkldnn_rnn", "_cudnn_rnn", "_thnn_fused", "_int_mm")
PRODUCTS = ("mul", "addcmul", "multiply", "pow", "square", "lerp", "outer", "prod")


@dataclass(frozen=True)
class ExecutionTrace:
    """`macs` by the counter's formulas, `products`: numbers that element-wise operators multiplied, `uncounted`:
    operators that multiply without a formula."""

    macs: int
    products: int
    uncounted: tuple[str, ...]


def trace(call: Callable[[], object]) -> ExecutionTrace:
    """Run `call` and say what was dispatched meanwhile, on all threads."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        observer = ExecutionTraceObserver()
        with _silent():
            observer.register_callback(str(path))
            observer.start()
        try:
            call()
        finally:
            with _silent():
                observer.stop()
                observer.unregister_callback()
        nodes = json.loads(path.read_text())["nodes"]
    return _seen({node["id"]: node for node in nodes})


@contextmanager
def _silent() -> Iterator[None]:
    """The observer announces itself on the standard error, from C++."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def _seen(nodes: dict[int, dict[str, Any]]) -> ExecutionTrace:
    macs, products, uncounted = 0, 0, []
    for node in nodes.values():
        space, _, name = node["name"].partition("::")
        if not name or _is_part_of_counted(node, nodes):
            continue
        formula = _formula(space, name)
        if formula is not None:
            macs += _flops(formula, node) // 2
        elif _multiplies_uncounted(space, name):
            uncounted.append(node["name"])
        elif name.rstrip("_") in PRODUCTS:
            products += sum(prod(shape) for shape in node["outputs"]["shapes"] if _is_shape(shape))
    return ExecutionTrace(macs, products, tuple(dict.fromkeys(uncounted)))


def _is_part_of_counted(node: dict[str, Any], nodes: dict[int, dict[str, Any]]) -> bool:
    """Whether an operator that has a formula called this one: convolutions call other convolutions."""
    parent = nodes.get(node["ctrl_deps"])
    while parent is not None and parent["id"] != parent["ctrl_deps"]:
        space, _, name = parent["name"].partition("::")
        if name and _formula(space, name) is not None:
            return True
        parent = nodes.get(parent["ctrl_deps"])
    return False


def _formula(space: str, name: str) -> Callable[..., int] | None:
    packet = getattr(getattr(torch.ops, space, None), name, None)
    return flop_registry.get(packet) if packet is not None else None


def _multiplies_uncounted(space: str, name: str) -> bool:
    if space != "aten":
        return space not in {"prim", "prims"} and f"{space}::{name}" not in STRANGERS_ALLOWED
    return name.rstrip("_") in UNCOUNTED or name.startswith(UNCOUNTED_PREFIXES)


def _flops(formula: Callable[..., int], node: dict[str, Any]) -> int:
    given = node["inputs"]
    values = [
        _shape_or_value(value, shape, kind)
        for value, shape, kind in zip(given["values"], given["shapes"], given["types"], strict=True)
    ]
    return int(formula(*values, out_val=torch.Size(node["outputs"]["shapes"][0])))


def _shape_or_value(value: Any, shape: Any, kind: str) -> Any:
    if kind.startswith("Tensor"):
        return torch.Size(shape)
    return None if value == "<None>" else value


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, list) and all(isinstance(size, int) for size in shape)
