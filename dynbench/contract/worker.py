"""`python -m dynbench.contract.worker REQUEST`: tries one method in this process, which may hang or die of it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from dynbench.backbones import build_backbone
from dynbench.contract import CHECKS, Subject, digits
from dynbench.contract.check import in_words
from dynbench.contract.load import load_target
from dynbench.contract.request import Event, Request
from dynbench.errors import UserError
from dynbench.suite.locate import Locator, explain

GIB = 2**30


def main(path: str) -> None:
    request = Request.model_validate_json(Path(path).read_bytes())
    _limit_memory(request.memory)
    torch.set_num_threads(1)  # on nets and images this small more threads wait for each other
    with request.events.open("a", encoding="utf-8") as events:
        for event in events_of(request):
            events.write(event.model_dump_json(exclude_defaults=True) + "\n")
            events.flush()


def events_of(request: Request) -> Iterator[Event]:
    """All that is to be said, as it happens. Raises nothing but KeyboardInterrupt."""
    try:
        subject = _subject(request)
    except UserError as error:
        yield Event(cannot=str(error))
        return
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        yield Event(cannot=f'method "{request.target}" cannot be tried: {in_words(error)}')
        return
    for check in CHECKS:
        yield Event(begun=check.name)
        yield Event(outcome=check(subject))


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


def _limit_memory(gib: float) -> None:
    """Where the operating system knows such a limit: beyond it, asking for memory raises an error."""
    try:
        import resource  # noqa: PLC0415  (absent on Windows)
    except ImportError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = int(gib * GIB)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if most < 0 else min(wanted, most), most))


if __name__ == "__main__":
    main(*sys.argv[1:])
