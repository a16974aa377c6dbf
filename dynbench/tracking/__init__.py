"""Record -> MLflow: an experiment a suite, a run a record.

Everything that MLflow has is made from records: a server that is down or dies costs nothing, `sync` sends the rest
later. MLflow is imported when needed.
"""

from dynbench.tracking.plots import log_plots
from dynbench.tracking.sync import Synced, send_rest, sync
from dynbench.tracking.tracker import Tracker

__all__ = ["Synced", "Tracker", "log_plots", "send_rest", "sync"]
