"""The one exception that is meant for people."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean "lc_net"? (known: ...)`, or only the known names when nothing is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f'did you mean "{near[0]}"? ' if near else ""
    return f"{hint}(known: {', '.join(names)})"


class UserError(Exception):
    """Something the user can mend. The message says what, where and what to do; the CLI prints it as one
    line and exits with 2."""


class AuditFailed(Exception):  # noqa: N818  (named for what happened)
    """Executed and accounted MACs, or logits, differ: this run has failed, the others go on."""


class TrainingDiverged(Exception):  # noqa: N818  (named for what happened, as people will search for it)
    """The loss became NaN or infinite: this run has failed, the others go on."""
