"""What a run will cost, when it is the plugin of anyone that is asked."""

from dynbench.errors import UserError
from dynbench.estimate import Estimate, estimate
from dynbench.isolate.call import call
from dynbench.isolate.child import Ask
from dynbench.isolate.watch import ChildEnded
from dynbench.plan import Run
from dynbench.suite.schema import Limits

MINUTES = 10
"""A net is built and takes a few steps: what takes longer hangs."""


def estimate_isolated(run: Run, limits: Limits) -> Estimate | None:
    """`dynbench.estimate.estimate` in a child process; None when the plugin fails there: its record will say how.
    Raises UserError when the method does not support the backbone or either is misnamed."""
    brief = limits.model_copy(update={"silence_minutes": min(MINUTES, limits.silence_minutes)})
    try:
        found: Estimate = call(_estimate, run, limits=brief)
    except UserError:
        raise
    except (ChildEnded, OSError):
        return None
    return found


def _estimate(_ask: Ask, run: Run) -> Estimate:
    return estimate(run)
