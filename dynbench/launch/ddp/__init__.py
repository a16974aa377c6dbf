"""One run on several processes: torch's DistributedDataParallel on one machine or many.

Each process of a group has a supervisor, which runs no plugin code: `dynbench run --nproc N` holds all of them, as
threads; under torchrun every process that it starts is one. The supervisors talk through a store of torch.distributed
(`store`). The first one leads: it walks the suite, holds the locks, prints, tracks and times (`leader`); the others
follow its orders. For each run every supervisor starts a child process (`worker`), as it does for a run on one process;
these children form the process group, and what happens in them, a crash on one of them included, costs that run only.

Why torch's own elastic launch (`torch.distributed.launcher.api`) does not stand in place of leader and followers; each
was tried with torch 2.14:

- It has no limits: a worker that hangs is waited for, one that eats the memory takes the machine with it. Here every
  worker is bound by the suite's `limits:`.
- A worker tells its agent nothing until it returns, and progress, `--minutes` and MLflow live on what the first one
  tells after every step and epoch.
- An exception in a plugin is a failure of the group, which it starts again `max_restarts` times. Here a plugin's
  failure is the run's record, and only processes that die are started again.
- Under torchrun the processes are started already, by an agent on each machine. A launch within each of them would be a
  second rendezvous for every run, and its agents handle signals that the first agents send.
"""
