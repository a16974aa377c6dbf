"""What happens in the process that tries a method, which may hang or die of it."""

from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ValidationError

from dynbench.backbones import build_backbone
from dynbench.contract import CHECKS, Subject, digits
from dynbench.contract.check import Outcome, in_words
from dynbench.contract.load import load_target
from dynbench.errors import UserError
from dynbench.isolate.child import Ask
from dynbench.suite.locate import Locator, explain
from dynbench.suite.schema import BackboneSpec

Event = str | Outcome
"""The name of a check that has begun, or the outcome of one that has ended."""


@dataclass(frozen=True)
class Request:
    """`target`: a registered name or `path.py:Class`."""

    target: str
    backbone: BackboneSpec
    params: dict[str, Any]


def run_checks(ask: Ask, request: Request) -> None:
    """Every check, each `Event` told as it happens. Raises UserError when the method cannot be tried."""
    torch.set_num_threads(1)  # on nets and images this small more threads wait for each other
    subject = make_subject(request)
    for check in CHECKS:
        ask(check.name)
        ask(check(subject))


def make_subject(request: Request) -> Subject:
    """Raises UserError when the method does not import, cannot be made or does not support the backbone."""
    try:
        return _subject(request)
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise UserError(f'method "{request.target}" cannot be tried: {in_words(error)}') from error


def _subject(request: Request) -> Subject:
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


def _config(kind: Any, request: Request) -> Any:
    """The method's parameters. Raises UserError when they do not fit."""
    try:
        return kind.Config.model_validate(request.params)
    except ValidationError as error:
        locator = Locator("--param", request.params, {(key,): f"--param {key}" for key in request.params})
        words = explain(error, locator, (), kind.Config)
        raise UserError(words.replace("--param:1: ", "--param ")) from error  # what is missing has no place
