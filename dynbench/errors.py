"""The one exception that is meant for people, and other people's exceptions in words."""

import difflib
from collections.abc import Iterable

LONGEST_NAME = 100
"""Characters of a name that is compared with others."""
LONGEST = 1000
"""Characters of an error that is kept."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `did you mean "lc_net"? (known: ...)`, or only the known names when nothing is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5) if len(name) <= LONGEST_NAME else ()
    hint = f'did you mean "{near[0]}"? ' if near else ""
    return f"{hint}(known: {', '.join(names)})"


def shortened(text: str, longest: int) -> str:
    """Return `text`, or its beginning and its end with how much was left out between them.

    `longest` characters and a few words at the most.
    """
    if len(text) <= longest:
        return text
    end = longest // 4
    start = longest - end
    return f"{text[:start]} ... ({len(text) - start - end:,} characters more) ... {text[-end:]}"


def describe(error: BaseException) -> str:
    """Return `TypeError: what it says`, on one line and not too long, of whatever a plugin has raised."""
    try:
        said = str(error)
    except Exception:  # its own __str__ is a plugin's
        said = "(what it says cannot be read)"
    words = shortened(" ".join(said.split()), LONGEST)
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


class UserError(Exception):
    """Something that the user can fix.

    The message says what, where and what to do; the CLI prints it as one line and exits with 2.
    """


class AuditFailed(Exception):  # noqa: N818  (named for what happened)
    """Executed and accounted MACs, or logits, differ: this run has failed, the others continue."""


class TrainingDiverged(Exception):  # noqa: N818  (named for what happened, as people will search for it)
    """The loss became NaN or infinite: this run has failed, the others continue."""
