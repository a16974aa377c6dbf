"""A check: its name, what a method promises, and the words for what is wrong."""

import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from dynbench.contract.subject import Subject


SHOWN = 3
HARNESS = "dynbench.errors"


def plugin_frames(error: BaseException, kind: type) -> tuple[str, ...]:
    """Return the last frames of the error's traceback that lie in the module or package of class `kind`.

    Each as `file:line in function: source`. Of an error that never was there, return its last frame, unless it is one
    of the harness's own findings.
    """
    frames = traceback.extract_tb(error.__traceback__)
    elsewhere = () if type(error).__module__ == HARNESS else tuple(map(_shown, frames[-1:]))
    return in_plugin(frames, kind) or elsewhere


def in_plugin(frames: Iterable[traceback.FrameSummary], kind: type) -> tuple[str, ...]:
    """Return the last of `frames` that lie in the module or package of class `kind`."""
    roots = _roots(kind)
    own = [frame for frame in frames if any(Path(frame.filename).is_relative_to(root) for root in roots)]
    return tuple(_shown(frame) for frame in own[-SHOWN:])


def _roots(kind: type) -> list[Path]:
    """Folders of the top-level package that the class is from, or the file of its module."""
    module = sys.modules.get(kind.__module__.partition(".")[0])
    folders = getattr(module, "__path__", None) or [getattr(module, "__file__", None)]
    return [Path(folder) for folder in folders if folder]


def _shown(frame: traceback.FrameSummary) -> str:
    return f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}: {frame.line}"


Status = Literal["kept", "broken", "does not apply", "not run"]


class DoesNotApply(Exception):  # noqa: N818  (named for what it says)
    """The method has nothing that this check could look at; the message says what."""


class NotRun(Exception):  # noqa: N818  (named for what it says)
    """The check needs something that another check found missing."""


class Outcome(BaseModel):
    """What a check found.

    `words` say what is wrong and where, `frames` are the places in the plugin's own code, the innermost last.
    """

    model_config = ConfigDict(frozen=True)

    check: str
    promise: str
    status: Status
    words: str = ""
    frames: tuple[str, ...] = ()

    @property
    def bad(self) -> bool:
        """Broken, or not run because of something broken."""
        return self.status in {"broken", "not run"}


@dataclass(frozen=True)
class Check:
    """`run(subject)` gives None when the promise is kept, else words for what is wrong.

    It may raise whatever the plugin raises.
    """

    name: str
    run: Callable[["Subject"], str | None]

    @property
    def promise(self) -> str:
        """One sentence: the first line of the function's docstring."""
        return (self.run.__doc__ or "").strip().splitlines()[0]

    def __call__(self, subject: "Subject") -> Outcome:
        """Raises nothing but KeyboardInterrupt: what the plugin raises is an outcome."""
        try:
            words = self.run(subject)
        except DoesNotApply as reason:
            return self.outcome("does not apply", str(reason))
        except NotRun as reason:
            return self.outcome("not run", str(reason))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return self.outcome("broken", in_words(error), plugin_frames(error, subject.kind))
        return self.outcome("kept" if words is None else "broken", words or "")

    def outcome(self, status: Status, words: str = "", frames: tuple[str, ...] = ()) -> Outcome:
        return Outcome(check=self.name, promise=self.promise, status=status, words=words, frames=frames)


def in_words(error: BaseException) -> str:
    """Return one line for an exception; the harness's own say what is wrong themselves."""
    text = " ".join(str(error).split())
    if isinstance(error, SystemExit):
        return f"it calls sys.exit({text})"
    if type(error).__module__ == HARNESS:
        return text
    return f"it raises {type(error).__name__}: {text}"
