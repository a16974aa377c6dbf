"""What a method's class says of itself."""

import re
from typing import TYPE_CHECKING

from pydantic import ValidationError

from dynbench.backbones import build_backbone
from dynbench.contract.short_training import changed_tensors, state_of
from dynbench.method import MethodConfig

if TYPE_CHECKING:
    from dynbench.contract.subject import Subject


def name(subject: "Subject") -> str | None:
    """It has a `name`, which is that of its entry point, and a version."""
    own = getattr(subject.kind, "name", None)
    if not isinstance(own, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", own):
        return f'`name` is {own!r}; it has to be text that can stand in a file name, as "{_snake(subject.kind)}"'
    if subject.registered not in {None, own}:
        return f'`name` is "{own}", and the entry point is called "{subject.registered}"; give both the same name'
    if type(subject.kind.version) is not int or subject.kind.version < 1:
        return f"`version` is {subject.kind.version!r}; it has to be a whole number from 1 on"
    return None


def _snake(kind: type) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__).lower()


def defaults(subject: "Subject") -> str | None:
    """Its parameters have valid defaults, and are the same after they were written to a record and read again."""
    config = subject.kind.Config
    if not (isinstance(config, type) and issubclass(config, MethodConfig)):
        return "`Config` is not a subclass of dynbench.method.MethodConfig"
    try:
        config()
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or config.__name__
        return f"without parameters it cannot be made: {key}: {first['msg']}; give every parameter a valid default"
    written = subject.config.model_dump(mode="json")
    if config.model_validate(written) != subject.config:
        return f"its parameters differ after they were written as {written} and read again"
    return None


def unsupported(subject: "Subject") -> str | None:
    """`unsupported` gives None or a reason in words, and leaves the backbone as it was."""
    method = subject.kind(subject.config)
    backbone = build_backbone(method.backbone(subject.spec), subject.data.shape, subject.data.num_classes)
    before = state_of(backbone)
    reason = method.unsupported(backbone)
    if reason is not None and not (isinstance(reason, str) and reason):
        return f"`unsupported` gives {reason!r}; None or a reason in words is expected"
    changed = changed_tensors(before, state_of(backbone))
    return f"`unsupported` changes the backbone: {changed[0]}" if changed else None
