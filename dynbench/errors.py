"""The one exception that is meant for people."""


class UserError(Exception):
    """Something the user can mend. The message says what, where and what to do; the CLI prints it as one
    line and exits with 2."""


class AuditFailed(Exception):  # noqa: N818  (named for what happened)
    """Executed and accounted MACs, or logits, differ: this run has failed, the others go on."""


class TrainingDiverged(Exception):  # noqa: N818  (named for what happened, as people will search for it)
    """The loss became NaN or infinite: this run has failed, the others go on."""
