"""Where in a plugin's own code something happened."""

import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

SHOWN = 3
HARNESS = "dynbench.errors"


def plugin_frames(error: BaseException, kind: type) -> tuple[str, ...]:
    """The last frames of the error's traceback that lie in the module or package of class `kind`, as `file:line in
    function: source`; of an error that never was there, its last frame, but for the harness's own findings."""
    frames = traceback.extract_tb(error.__traceback__)
    elsewhere = () if type(error).__module__ == HARNESS else tuple(map(_shown, frames[-1:]))
    return in_plugin(frames, kind) or elsewhere


def in_plugin(frames: Iterable[traceback.FrameSummary], kind: type) -> tuple[str, ...]:
    """The last of `frames` that lie in the module or package of class `kind`."""
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
