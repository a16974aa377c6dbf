"""One run on several processes: torch's DistributedDataParallel on one machine or many.

Each process of a group has a supervisor, which runs no plugin code: `dynbench run --nproc N` holds all of them, as
threads; under torchrun every process that it starts is one. The supervisors talk through a store of torch.distributed
(`board`). The first one leads: it walks the suite, holds the locks, prints, tracks and times (`lead`); the others wait
for its orders (`follow`). For each run every supervisor starts a child process (`member`), as it does for a run on one
process; these children form the process group, and what happens in them, a crash on one of them included, costs that
run only.
"""
