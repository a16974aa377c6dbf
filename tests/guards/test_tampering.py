"""What is sealed: all of dynbench below the command line, function by function and constant by constant."""

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

import dynbench
from dynbench import errors
from dynbench.backbones import BACKBONES
from dynbench.contract import load
from dynbench.errors import AuditFailed, UserError
from dynbench.executors.convolution import FoldedConv
from dynbench.executors.folded_block import FoldedBlock
from dynbench.guards import tampering
from dynbench.guards.tampering import EXEMPT, seal, sealed_modules, verify
from dynbench.train.session import Session


def modules_on_disk() -> set[str]:
    root = Path(dynbench.__path__[0])
    paths = [path.relative_to(root.parent).with_suffix("") for path in root.rglob("*.py")]
    return {".".join(path.parts).removesuffix(".__init__") for path in paths}


def is_exempt(module: str) -> bool:
    return any(module == one.module or module.startswith(f"{one.module}.") for one in EXEMPT)


def test_every_module_is_sealed_or_named_as_an_exception() -> None:
    assert set(sealed_modules()) == {name for name in modules_on_disk() if not is_exempt(name)}
    assert {one.module for one in EXEMPT} <= modules_on_disk(), "an exception that is gone"
    assert all(one.reason for one in EXEMPT)


Place = tuple[Any, str, Callable[..., object]]
"""An owner, a name in it, and what may stand there instead."""


def instead(*_: object, **__: object) -> None: ...


def own_functions(module: ModuleType) -> Iterator[Place]:
    """Functions of the module, and methods of its classes."""
    for name, value in vars(module).items():
        if getattr(value, "__module__", "") != module.__name__:
            continue
        if isinstance(value, FunctionType):
            yield module, name, instead
        elif isinstance(value, type):
            yield from ((value, key, instead) for key, part in vars(value).items() if isinstance(part, FunctionType))


def first_and_last(module: ModuleType) -> list[Place]:
    if module is tampering:  # what looks does not find itself replaced
        return [(tampering, "own_formulas", instead)]
    places = list(own_functions(module))
    return [places[0], places[-1]] if places else []


@pytest.mark.parametrize("name", sealed_modules())
def test_a_replaced_function_is_noticed_in_every_module(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seal()
    module = importlib.import_module(name)
    for owner, attribute, other in first_and_last(module):
        with monkeypatch.context() as patch:
            patch.setattr(owner, attribute, other)
            with pytest.raises(AuditFailed, match=rf"{name}\..*is not what it was before the plugin was loaded"):
                verify("here")
    verify("here")


def test_a_module_without_functions_has_its_constants_sealed() -> None:
    without = [name for name in sealed_modules() if not first_and_last(importlib.import_module(name))]
    plain = [name for name in without if not hasattr(sys.modules[name], "__path__")]
    assert len(plain) < len(sealed_modules()) / 20  # or the test above would say nothing
    assert all(any(f"{name}." in sealed for sealed in seal()) for name in plain)


def noticed(what: str) -> None:
    with pytest.raises(AuditFailed, match=rf"in a test, {what} is not what it was before the plugin was loaded"):
        verify("in a test")


def test_the_dense_reference_of_every_latency_is_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    seal()
    monkeypatch.setattr(FoldedBlock, "forward", instead)
    noticed("dynbench.executors.folded_block.FoldedBlock.forward")


def test_what_is_put_before_an_inherited_method_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    seal()
    monkeypatch.setattr(FoldedBlock, "__call__", instead)
    noticed("what is in dynbench.executors.folded_block.FoldedBlock")


@pytest.mark.parametrize("name", ["latency.checks.FASTER", "evaluation.audit.TOLERANCE", "train.trainer.LOOK_EVERY"])
def test_constants_are_sealed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seal()
    monkeypatch.setattr(f"dynbench.{name}", 1e9)
    noticed(f"dynbench.{name}")


def test_what_a_name_stands_for_is_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    seal()
    monkeypatch.setitem(BACKBONES, "resnet8", BACKBONES["resnet20"])
    noticed("the content of dynbench.backbones.BACKBONES")


def test_every_constant_is_sealed_whatever_it_is() -> None:
    """By what it is, and by what is in it where that can be changed in place."""
    sealed = seal()
    for module in sealed_modules():
        for name, value in vars(importlib.import_module(module)).items():
            if name.isupper():
                assert f"{module}.{name}" in sealed
                assert not isinstance(value, dict | set | list) or f"the content of {module}.{name}" in sealed


@pytest.mark.parametrize("constant", [{1}, [1], {"a": 1}])
def test_a_constant_that_is_changed_in_place_is_noticed(constant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "CONSTANT", constant, raising=False)
    seal.cache_clear()
    seal()
    constant.clear()
    noticed("the content of dynbench.errors.CONSTANT")


def test_defaults_by_keyword_and_figures_of_a_class_are_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    seal()
    with monkeypatch.context() as patch:
        patch.setattr(FoldedConv.forward, "__kwdefaults__", {})
        noticed("the defaults of dynbench.executors.convolution.FoldedConv.forward")
    monkeypatch.setattr(Session, "look_every", 10**9)
    noticed("dynbench.train.session.Session.look_every")


def test_code_behind_a_decorator_is_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(model: object, doing: str) -> Iterator[None]:
        yield

    seal()
    kept = importlib.import_module("dynbench.guards.model_changes").kept
    monkeypatch.setattr(kept.__wrapped__, "__code__", other.__code__)
    noticed("the code in dynbench.guards.model_changes.kept")


def test_methods_are_not_sealed() -> None:
    assert not any("dynbench_methods" in name for name in seal())


def test_sealing_loads_nothing_that_a_run_does_without() -> None:
    code = "import sys; from dynbench.guards.tampering import seal; seal(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert not {"pandas", "matplotlib", "mlflow", "ray", "sklearn", "torch._inductor"} & set(done.stdout.split())


def test_sealing_is_remembered() -> None:
    assert seal() is seal()
    assert tampering.seal.cache_info().currsize == 1


@pytest.fixture
def unsealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process; what this one sealed stays for the other tests."""
    fresh = cache(seal.__wrapped__)
    monkeypatch.setattr(tampering, "seal", fresh)
    monkeypatch.setattr(load, "seal", fresh)


@pytest.mark.usefixtures("unsealed")
def test_what_was_never_sealed_is_not_said_to_be_unchanged() -> None:
    with pytest.raises(RuntimeError, match="after training, nothing can be compared"):
        verify("after training")


@pytest.mark.usefixtures("unsealed")
@pytest.mark.parametrize("target", ["by_name", "by_path.py"])
def test_a_plugin_on_trial_is_imported_after_the_sealing(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it changes while it is imported is seen."""
    before = errors.did_you_mean
    monkeypatch.setattr(errors, "did_you_mean", before)  # puts it back at the end
    monkeypatch.setattr(load, "load_method", lambda _: setattr(errors, "did_you_mean", instead))
    (tmp_path / "by_path.py").write_text("from dynbench import errors\nerrors.did_you_mean = len\n")
    with suppress(UserError):
        load.load_target(target if target == "by_name" else str(tmp_path / target))
    assert errors.did_you_mean is not before
    with pytest.raises(AuditFailed, match="did_you_mean"):
        verify("after it was tried")
