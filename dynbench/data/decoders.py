"""Threads that decode image files into batches, ahead of the code that uses these.

Only these threads know the files' names, which tell the labels: outside, an image is a number. Results do not depend on
how many threads there are: what is drawn for an image depends on the seed and its number alone.
"""

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from random import Random

import numpy as np
import torch
from PIL import UnidentifiedImageError
from torch import Tensor

from dynbench.data.pixels import centre_crop, random_crop
from dynbench.errors import UserError

Files = tuple[Path, Sequence[str]]
"""A folder and the paths of image files in it."""
INDEX_BITS = 32


class Batch:
    """Images that are being decoded: uint8 (images, 3, side, side)."""

    def __init__(self, images: int, side: int, pinned: bool) -> None:
        self._pixels = torch.empty(images, 3, side, side, dtype=torch.uint8, pin_memory=pinned)
        self._array = self._pixels.numpy()
        self._lock, self._done = threading.Lock(), threading.Event()
        self._left = images
        self._problem: str | None = None
        if not images:
            self._done.set()

    @property
    def side(self) -> int:
        """Return the side of the images, in pixels."""
        return self._pixels.shape[2]

    def put(self, place: int, pixels: np.ndarray | None, problem: str | None = None) -> None:
        """Put in one image, or why there is none."""
        if pixels is not None:
            self._array[place] = pixels
        with self._lock:
            self._problem = self._problem or problem
            self._left -= 1
            if not self._left:
                self._done.set()

    def wait(self) -> Tensor:
        """Wait for the images and return them, uint8 (images, 3, side, side).

        Raises UserError when a file cannot be decoded.
        """
        self._done.wait()
        if self._problem is not None:
            raise UserError(self._problem)
        return self._pixels


Task = tuple[Batch, int, int, int | None]
"""Batch, place in it, number of the image, seed: None for the centre crop."""


class Decoders:
    """The threads of one list of files; they end when nobody holds this any more."""

    def __init__(
        self, files: Files, side: int, threads: int | None = None, work: Callable[..., None] | None = None
    ) -> None:
        """`threads`: how many, if not `thread_count()`. `work`: what each of them does, if not to decode."""
        self.count, self.side = len(files[1]), side
        number = threads or thread_count()
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        start: SimpleQueue[Files] = SimpleQueue()
        ready: SimpleQueue[None] = SimpleQueue()
        for _ in range(number):
            start.put(files)  # as an argument, it would stay with the thread for everybody to see
            threading.Thread(
                target=work or _work, args=(start, ready, self._tasks), name="decoder", daemon=True
            ).start()
        for _ in range(number):
            ready.get()  # one that comes up later would pass for a plugin's, which is watched by then
        weakref.finalize(self, _stop, self._tasks, number)

    def submit(self, indices: Sequence[int], seed: int | None, pinned: bool) -> Batch:
        """Begin to decode: random crops drawn from `seed` and each image's number, centre crops without one."""
        batch = Batch(len(indices), self.side, pinned)
        for place, index in enumerate(indices):
            self._tasks.put((batch, place, index, seed))
        return batch


def thread_count() -> int:
    """Return how many threads decode each list of files.

    DYNBENCH_DECODERS, else the CPUs that this process may use, divided among the processes that torchrun has started on
    this machine.
    """
    given = os.environ.get("DYNBENCH_DECODERS", "")
    if given:
        if not given.isdecimal() or int(given) == 0:
            raise UserError(f"DYNBENCH_DECODERS={given}: expected a whole number above 0, or nothing")
        return int(given)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cpus // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _stop(tasks: "SimpleQueue[Task | None]", number: int) -> None:
    for _ in range(number):
        tasks.put(None)


def _work(start: "SimpleQueue[Files]", ready: "SimpleQueue[None]", tasks: "SimpleQueue[Task | None]") -> None:
    root, names = start.get()
    ready.put(None)
    while (task := tasks.get()) is not None:
        batch, place, index, seed = task
        try:
            batch.put(place, _pixels(root / names[index], batch.side, index, seed))
        except UserError as error:
            batch.put(place, None, f"{error}; put a complete copy there")
        except Exception as error:  # whatever a damaged file makes a decoder raise
            batch.put(place, None, f"cannot decode {root / names[index]} ({_reason(error)}); put a complete copy there")
        del task, batch  # memory of a batch that is used up need not wait for the next


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _pixels(path: Path, side: int, index: int, seed: int | None) -> np.ndarray:
    return centre_crop(path, side) if seed is None else random_crop(path, side, Random(seed << INDEX_BITS | index))
