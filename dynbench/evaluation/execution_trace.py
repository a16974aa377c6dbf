"""A second witness of what an executor runs: PyTorch's execution trace.

A dispatch mode sees one thread, and code can switch it off or notice it and behave. The trace is written beneath all
that, by the dispatcher, of every operator of every thread with its shapes; no mode is active while it is taken. What
`torch.cond` traces on its first call is in it as well: a comparison has to look again.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Size
from torch.profiler import ExecutionTraceObserver

from dynbench.counter.work import TRUTH, Work


def trace(call: Callable[[], object]) -> Work:
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


def _seen(nodes: Mapping[int, Mapping[str, Any]]) -> Work:
    """Downwards from what called everything."""
    children: dict[int, list[int]] = {}
    left: list[int] = []
    for number, node in nodes.items():
        caller = node["ctrl_deps"]
        (left if caller == number or caller not in nodes else children.setdefault(caller, [])).append(number)
    work = Work()
    while left:
        number = left.pop()
        if _is_looked_into(nodes[number], work):
            left += children.get(number, ())
    return work


def _is_looked_into(node: Mapping[str, Any], work: Work) -> bool:
    """Book an operator; say whether what it called counts in its place."""
    schema = next((one["value"] for one in node["attrs"] if one["name"] == "op_schema"), "")
    name = schema.partition("(")[0]
    if not name:  # a part of the program
        return True
    types = [kind for side in ("inputs", "outputs") for kind in node[side]["types"]]
    if any("complex" in kind for kind in types):
        work.refuse(name, "complex numbers")
        return False
    return work.add(name, _given(schema, node["inputs"], types), _sizes(node["outputs"])) == "inside"


def _given(schema: str, inputs: Mapping[str, Sequence[Any]], types: Sequence[str]) -> dict[str, Any]:
    given = {
        one.name: _size_or_value(value, shape, kind)
        for one, value, shape, kind in zip(
            torch._C.parse_schema(schema).arguments, inputs["values"], inputs["shapes"], inputs["types"], strict=False
        )
    }
    tensors = [kind for kind in types if kind.startswith("Tensor")]
    return given | {TRUTH: True} if tensors and set(tensors) == {"Tensor(bool)"} else given


def _size_or_value(value: Any, shape: Any, kind: str) -> Any:
    if kind.startswith("Tensor"):
        return Size(shape)
    if kind.startswith("GenericList[Tensor"):
        return [Size(one) for one in shape]
    return None if value == "<None>" else value


def _sizes(outputs: Mapping[str, Sequence[Any]]) -> list[Size]:
    return [
        Size(shape) for shape, kind in zip(outputs["shapes"], outputs["types"], strict=True) if kind[:6] == "Tensor"
    ]
