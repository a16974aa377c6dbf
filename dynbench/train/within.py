"""Where a stage stands in the middle of an epoch: on large data sets an epoch is more than one likes to lose."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dynbench.distributed.team import Team


@dataclass(frozen=True)
class Within:
    """After `step` steps of an epoch and `seconds` of training it. `totals`: each process's sum of its losses.
    `random`: each process's states of torch's random generators, the CPU's and its device's, uint8."""

    step: int
    seconds: float
    totals: list[float]
    random: list[list[Tensor]]

    def total(self, team: Team) -> float:
        """The sum of losses that this process goes on from. With another number of processes it is their mean."""
        return self.totals[team.rank] if len(self.totals) == team.world else sum(self.totals) / len(self.totals)

    def restore_random(self, device: torch.device, team: Team) -> bool:
        """Put torch's generators where they were; False, and nothing is done, with another number of processes."""
        if len(self.random) != team.world:
            return False
        cpu, *others = self.random[team.rank]
        torch.set_rng_state(cpu)
        if device.type == "cuda" and others:
            torch.cuda.set_rng_state(others[0], device)
        return True


def take_within(step: int, seconds: float, total: Tensor, device: torch.device, team: Team) -> Within:
    """All processes say together where they are."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    told = team.gathered((float(total), states))
    return Within(step, seconds, [total for total, _ in told], [states for _, states in told])
