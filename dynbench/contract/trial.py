"""What happens in the process that tries a method, which may hang or die of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ValidationError

from dynbench.backbones import build_backbone
from dynbench.contract import CHECKS, Subject, digits
from dynbench.contract.load import load_target
from dynbench.contract.promise import Outcome, in_words
from dynbench.errors import UserError
from dynbench.isolate.call import call
from dynbench.isolate.child import Ask
from dynbench.isolate.limits import ChildEnded
from dynbench.suite.locate import Locator, explain
from dynbench.suite.schema import BackboneSpec, Limits

Event = str | Outcome
"""The name of a check that has begun, or the outcome of one that has ended."""


@dataclass(frozen=True)
class Trial:
    """`target`: a registered name or `path.py:Class`."""

    target: str
    backbone: BackboneSpec
    params: dict[str, Any]


def run_checks(ask: Ask, request: Trial) -> None:
    """Run every check, each `Event` told as it happens. Raises UserError when the method cannot be tried."""
    torch.set_num_threads(1)  # on nets and images this small more threads wait for each other
    subject = subject_of(request)
    for check in CHECKS:
        ask(check.name)
        ask(check(subject))


def subject_of(request: Trial) -> Subject:
    """Return what the checks are tried on.

    Raises UserError when the method does not import, cannot be made or does not support the backbone.
    """
    try:
        return _subject(request)
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise UserError(f'method "{request.target}" cannot be tried: {in_words(error)}') from error


def _subject(request: Trial) -> Subject:
    """Raises UserError, or whatever the plugin raises when it is imported and made."""
    data = digits()
    kind, registered = load_target(request.target)
    subject = Subject(kind, _config(kind, request), request.backbone, data, registered)
    method = kind(subject.config)
    backbone = build_backbone(method.backbone(request.backbone), subject.data.shape, subject.data.num_classes)
    reason = method.unsupported(backbone)
    if isinstance(reason, str) and reason:
        raise UserError(f"{subject.name} does not support {request.backbone.name}: {reason}; try another --backbone")
    return subject


def _config(kind: Any, request: Trial) -> Any:
    """The method's parameters. Raises UserError when they do not fit."""
    try:
        return kind.Config.model_validate(request.params)
    except ValidationError as error:
        locator = Locator("--param", request.params, {(key,): f"--param {key}" for key in request.params})
        words = explain(error, locator, (), kind.Config)
        raise UserError(words.replace("--param:1: ", "--param ")) from error  # what is missing has no place


Tell = Callable[[Outcome], None]


def try_method(request: Trial, limits: Limits, tell: Tell) -> None:
    """Tell the outcome of every check, as they come.

    A check that is silent for longer than the limits, or takes more memory, is broken, and those after it are not run.

    Raises UserError when the method cannot be tried: it is unknown, does not import or does not support the backbone.
    """
    progress = _Progress(tell)
    try:
        call(run_checks, request, limits=limits, answers=progress.hear)
    except ChildEnded as error:
        if progress.begun is None:
            raise UserError(f'method "{request.target}" cannot be tried: when it was imported, {error}') from error
        for outcome in progress.unfinished(str(error)):
            tell(outcome)


class _Progress:
    """How far the child has come."""

    def __init__(self, tell: Tell) -> None:
        self.begun: str | None = None
        self._tell = tell
        self._done: set[str] = set()

    def hear(self, event: Event) -> None:
        if isinstance(event, str):
            self.begun = event
            return
        self._done.add(event.check)
        self._tell(event)

    def unfinished(self, how: str) -> Iterator[Outcome]:
        """Yield outcomes of the checks that the child did not come to; `how` it ended, in words."""
        for check in CHECKS:
            if check.name == self.begun and check.name not in self._done:
                yield check.outcome("broken", how)
            elif check.name not in self._done:
                yield check.outcome("not run", f'at the check "{self.begun}", {how}')
