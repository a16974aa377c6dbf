"""Orders as tasks of a Ray cluster."""

import socket
import sys
from typing import Any

from dynbench.launch.ray.cluster import Cluster, Size
from dynbench.launch.ray.messages import Fetch, Files, Message, NodeAnswer, Order
from dynbench.launch.ray.node import work

RETRIES = 3
"""How many times a run is begun again after its node was lost. What a plugin does is never a reason: it happens in a
process of its own and ends in a record."""


class Mailbox:
    """Events on their way; an actor beside the driver, so that no other node takes it along when it is lost."""

    def __init__(self) -> None:
        self._messages: list[Message] = []

    def post(self, message: Message) -> None:
        """Put a message in."""
        self._messages.append(message)

    def take(self) -> list[Message]:
        taken, self._messages = self._messages, []
        return taken


def perform(order: Order, needed: list[Any], mailbox: Any) -> NodeAnswer:
    """Perform the order on a node.

    `needed`: references to what the run starts from, brought only where it is not to be seen.
    """
    import ray

    # A run's process imports its parent's main program, which is Ray's: plugins are to have a process without it.
    vars(sys.modules["__main__"]).pop("__file__", None)
    posted: list[Any] = []

    def fetch() -> Files:
        return {path: content for files in ray.get(needed) for path, content in files.items()}

    def tell(message: Message) -> None:
        posted[:] = [mailbox.post.remote(message)]

    node = f"{socket.gethostname()} ({ray.get_runtime_context().get_node_id()[:6]})"
    answer = work(order, fetch, tell, node)
    ray.get(posted)  # the driver has every event before the answer
    return answer


class RayPool:
    """Each run is a task of the given size; `close()` ends those that are under way."""

    def __init__(self, cluster: Cluster, size: Size) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._cluster, self._size, self._ray = cluster, size, cluster.ray
        here = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)
        self._mailbox = self._ray.remote(num_cpus=0, scheduling_strategy=here)(Mailbox).remote()
        self._task = self._ray.remote(num_cpus=size.cpus, num_gpus=size.gpus, max_retries=RETRIES)(perform)
        self._orders: dict[Any, str] = {}
        self._inputs: dict[str, Any] = {}

    def slots(self) -> int:
        return self._cluster.slots(self._size)

    def submit(self, order: Order, fetch: Fetch) -> None:
        task = self._task.remote(order, self._needed(order, fetch), self._mailbox)
        self._orders[task] = order.run.run_id

    def _needed(self, order: Order, fetch: Fetch) -> list[Any]:
        """References to the files that the order's run starts from: stored once, by the driver: it outlives nodes."""
        needed = order.run.needs()
        if needed is None or self._cluster.is_local:
            return []
        if needed not in self._inputs:
            self._inputs[needed] = self._ray.put(fetch())
        return [self._inputs[needed]]

    def messages(self) -> list[Message]:
        taken: list[Message] = self._ray.get(self._mailbox.take.remote())
        return taken

    def wait(self, seconds: float) -> list[NodeAnswer]:
        if not self._orders:
            return []
        ended, _ = self._ray.wait(list(self._orders), timeout=seconds)
        return [self._answer(task) for task in ended]

    def _answer(self, task: Any) -> NodeAnswer:
        run_id = self._orders.pop(task)
        try:
            answer: NodeAnswer = self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            return NodeAnswer(run_id, problem=f"{run_id} was lost {RETRIES + 1} times, or could not start: {reason}")
        return answer

    def close(self) -> None:
        for task in self._orders:
            self._ray.cancel(task, force=True)
        self._orders.clear()
        self._ray.kill(self._mailbox)
