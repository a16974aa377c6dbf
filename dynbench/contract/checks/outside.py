"""What a method does besides its work: what it keeps, reads, prints and replaces."""

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dynbench.contract.same_results import split_batches
from dynbench.guards.tampering import verify

if TYPE_CHECKING:
    from dynbench.contract.subject import Subject


WARM, CALLS = 3, 10


def memory(subject: "Subject") -> str | None:
    """`infer` and the executor keep nothing of an image: no tensors pile up."""
    trained = subject.ask(subject.trained.model.eval())
    grown = _grown(trained.infer, subject)
    if grown >= CALLS:
        return f"`infer` keeps tensors: {grown} more after {CALLS} more images"
    for point in trained.points:
        executor = trained.executor(point)
        if executor is not None:
            with torch.no_grad():
                grown = _grown(executor, subject)
            if grown >= CALLS:
                return f'the executor of point "{point.name}" keeps tensors: {grown} more after {CALLS} more images'
    return None


def _grown(call: Callable[[Tensor], object], subject: "Subject") -> int:
    """How many tensors live on after `CALLS` calls, each with another image, that came after the first few."""
    images = split_batches(subject.images(WARM + CALLS))
    for image in images[:WARM]:
        call(image)
    gc.freeze()  # what lives already is neither collected nor listed, which would take a second
    try:
        for image in images[WARM:]:
            call(image)
        gc.collect()
        return sum(issubclass(type(one), Tensor) for one in gc.get_objects())
    finally:
        gc.unfreeze()


def data(subject: "Subject") -> str | None:
    """It takes images and labels from the harness alone, and leaves the test split to it."""
    assert subject.life
    if subject.test_reads:
        where = "".join(f" ({frame})" for frame in subject.test_reads[0][-1:])
        return f"it reads the test split{where}"
    return None


def output(subject: "Subject") -> str | None:
    """It prints nothing: the user of a suite sees the harness's lines."""
    printed = subject.life.printed
    if not printed.characters:
        return None
    beginning = " ".join(printed.beginning.split())[:60]
    return f'it prints {printed.characters} characters while it is trained and evaluated: "{beginning}"'


def harness(subject: "Subject") -> str | None:
    """It leaves the harness, the FLOP counter and the clock as they were."""
    assert subject.life
    verify("after it was tried")
    return None
