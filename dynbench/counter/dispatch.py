"""Counts what is dispatched, where it is dispatched: the operators that really run, with the tensors that they get."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator, OpOverload
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from dynbench.counter.operators import Kind, kind_of
from dynbench.counter.work import TRUTH, Work

PLAIN = Tensor.__torch_dispatch__
"""Of tensors that leave it to PyTorch how they are computed with, parameters among them."""


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts into `work` whatever the thread computes inside.

    Of `torch.cond` it runs the branch that is taken, once, and of `while_loop` every turn; nothing is traced or
    compiled. `modules` names the modules that MACs are told apart by.
    """

    supports_higher_order_operators = True

    def __init__(self, modules: Mapping[nn.Module, str] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.work = Work()
        self._names = modules or {}
        self._running = [""]

    def __enter__(self) -> "Counter":
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, HigherOrderOperator):
            return self._higher_order(func, args, kwargs)
        others = [kind for kind in types if kind.__torch_dispatch__ is not PLAIN]  # tensors that are made of others
        if others:
            return func(*args, **kwargs) if all(kind is FakeTensor for kind in others) else NotImplemented
        kind = _kind(func)
        if kind == "inside":
            with self:
                return func.decompose(*args, **kwargs)
        out = func(*args, **kwargs)
        given = _tensors((*args, *kwargs.values()))
        strange = next(filter(None, map(_strange, given)), None)
        if strange is not None:
            self.work.refuse(_name(func), strange)
        elif kind != "free":
            self._book(func, args, kwargs, given, out)
        return out

    def _book(self, func: OpOverload, args: Any, kwargs: Any, given: list[Tensor], out: Any) -> None:
        named = named_sizes(func, args, kwargs)
        if given and all(one.dtype == torch.bool for one in given):
            named[TRUTH] = True
        self.work.add(_name(func), named, [one.shape for one in _tensors((out,))], self._running[-1])

    def _higher_order(self, func: HigherOrderOperator, args: Any, kwargs: Any) -> Any:
        name = str(func.name())  # type: ignore[no-untyped-call]
        if name == "cond":
            return self._cond(*args, **kwargs)
        if name == "while_loop":
            return self._while_loop(*args, **kwargs)
        self.work.refuse(f"higher_order::{name}")
        return func(*args, **kwargs)

    def _cond(self, pred: Any, true_fn: Any, false_fn: Any, operands: Any = ()) -> Any:
        with self:
            return (true_fn if bool(pred) else false_fn)(*operands)

    def _while_loop(self, cond_fn: Any, body_fn: Any, carried_inputs: Any, additional_inputs: Any = ()) -> Any:
        carried = tuple(carried_inputs)
        with self:
            while bool(cond_fn(*carried, *additional_inputs)):
                carried = tuple(body_fn(*carried, *additional_inputs))
        return carried

    @contextmanager
    def by_module(self) -> Iterator[None]:
        """Watch modules inside the block."""

        def enter(module: nn.Module, args: Any) -> None:  # noqa: ARG001
            if module in self._names:
                self._running.append(self._names[module])

        def leave(module: nn.Module, args: Any, out: Any) -> None:  # noqa: ARG001
            if module in self._names:
                self._running.pop()

        hooks = register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True)
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def counted(call: Callable[[], Any]) -> tuple[Work, Any]:
    """Return what `call` executes on this thread, and its result."""
    with Counter() as counter:
        result = call()
    return counter.work, result


def counted_by_module(model: nn.Module, *inputs: Any) -> tuple[Work, Any]:
    """Return what `model` executes on `inputs`, by the names of its modules, and its result.

    A module that stands at several places has the name of the first.
    """
    counter = Counter({module: name for name, module in model.named_modules()})
    with counter.by_module(), counter:
        result = model(*inputs)
    return counter.work, result


@cache
def _name(func: OpOverload) -> str:
    return str(func.name())  # type: ignore[no-untyped-call]


@cache
def _kind(func: OpOverload) -> Kind:
    return kind_of(_name(func))


@cache
def _argument_names(func: OpOverload) -> tuple[tuple[str, Any], ...]:
    return tuple((one.name, one.default_value) for one in func._schema.arguments)


def named_sizes(func: OpOverload, args: Any, kwargs: Any) -> dict[str, Any]:
    """Return a call's arguments by the names of the operator's schema, tensors as their sizes."""
    return {name: _sized(value) for name, value in _named(func, args, kwargs).items()}


def _named(func: OpOverload, args: Any, kwargs: Any) -> dict[str, Any]:
    names = _argument_names(func)
    given = {name: value for (name, _), value in zip(names, args, strict=False)}
    return given | {name: kwargs.get(name, default) for name, default in names[len(args) :]}


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    """Those among `values`, and those in lists."""
    found = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += [one for one in value if isinstance(one, Tensor)]
    return found


def _sized(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.shape
    if isinstance(value, list | tuple):
        return [_sized(one) for one in value]
    return value


def _strange(tensor: Tensor) -> str | None:
    """What is special about a tensor in whose shape the work does not show."""
    if tensor.is_nested:
        return "nested tensors"
    if tensor.layout is not torch.strided:
        return f"tensors of the layout {str(tensor.layout).removeprefix('torch.').removeprefix('_')}"
    if tensor.is_quantized:
        return "quantized tensors"
    return "complex numbers" if tensor.dtype.is_complex else None
