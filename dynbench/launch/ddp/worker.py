"""One process of a process group, while it trains and evaluates a run: a child process of its supervisor."""

import os
from dataclasses import replace
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from dynbench.context import Context
from dynbench.execute import produce
from dynbench.isolate.child import Ask
from dynbench.launch.ddp.rank import Rank, check_devices
from dynbench.launch.isolated import Remote
from dynbench.plan.run import Run
from dynbench.process_group import ProcessGroup
from dynbench.record.schema import Record

FAILED = "failed"
"""A question that is none: the run has failed here. It is asked before this process ends, which the others notice."""
PATIENCE = timedelta(days=30)
"""How long the others are waited for. The supervisors see who has ended or keeps silent."""


def produce_in_group(ask: Ask, run: Run, context: Context, me: Rank, rendezvous: str) -> Record:
    """Produce a record as `dynbench.execute.produce` does, together with the other processes at the same `rendezvous`.

    Only the first process writes; the others return records without results.
    """
    device = _own_device(context.device, me)
    _use_share_of_cpu(device, me)
    store = TCPStore(me.host, me.port, is_master=False, timeout=PATIENCE)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(
        backend, store=PrefixStore(rendezvous, store), rank=me.rank, world_size=me.world, timeout=PATIENCE
    )
    processes = ProcessGroup(me.rank, me.world)
    record = produce(run, replace(context, device=device, processes=processes, observer=Remote(ask)))
    if record.status == FAILED:
        ask((FAILED, (record.error, record.traceback)))
    else:
        dist.destroy_process_group()
    return record


def _own_device(device: torch.device, me: Rank) -> torch.device:
    if device.type != "cuda":
        return device
    check_devices(device, me.local_world)
    own = torch.device("cuda", me.local_rank)
    torch.cuda.set_device(own)
    return own


def _use_share_of_cpu(device: torch.device, me: Rank) -> None:
    """An even share of the cores, unless OMP_NUM_THREADS says otherwise; the decoders of images take theirs."""
    os.environ["LOCAL_WORLD_SIZE"] = str(me.local_world)
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // me.local_world))
