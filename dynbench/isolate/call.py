"""Calls a function in a child process and talks with it until it is done."""

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext, ForkServerContext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dynbench.errors import UserError, describe
from dynbench.isolate import child
from dynbench.isolate.limits import ChildDied, ChildEnded, LimitWatch, ProcessLimits, how_it_ended
from dynbench.isolate.output import OutputTail
from dynbench.isolate.pulse import PULSE

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess


POLL_SECONDS = 0.2
LAST_SECONDS = 5
"""A child that has answered may take this long to end by itself."""


class _Answers(Protocol):
    def __call__(self, question: Any, /) -> Any: ...


def _no_questions(question: Any) -> Any:
    raise AssertionError(f"a question that nobody answers: {question}")


def _nothing() -> None: ...


_here = False


@contextmanager
def in_this_process() -> Iterator[None]:
    """Have functions called in this process inside the block, for a debugger or a test.

    Nothing is limited, and an exit or a crash of what is called is one of this process.
    """
    global _here  # noqa: PLW0603
    before, _here = _here, True
    try:
        yield
    finally:
        _here = before


def call(
    function: Callable[..., Any],
    *arguments: Any,
    limits: ProcessLimits,
    answers: _Answers = _no_questions,
    log: Path | None = None,
    look: Callable[[], None] = _nothing,
) -> Any:
    """Call `function(ask, *arguments)` in a child process, in which `ask(question)` is `answers(question)` here.

    Everything that passes between the two is pickled; what the child prints ends up in `log`, its last part. `look` is
    called now and then while the child works.

    Raises what `answers` and `look` raise, UserError and OSError as the function raises them, and ChildEnded for
    everything else that ends it: other exceptions, exits, signals, the limits; ChildDied, which is one, when it ended
    without an answer.
    """
    if _here:
        return _call_here(function, arguments, answers)
    return call_in_child(function, *arguments, limits=limits, answers=answers, log=log, look=look)


def call_in_child(
    function: Callable[..., Any],
    *arguments: Any,
    limits: ProcessLimits,
    answers: _Answers = _no_questions,
    log: Path | None = None,
    look: Callable[[], None] = _nothing,
    needs: str | None = None,
) -> Any:
    """Call as `call` does, and never in this process.

    `needs`: the module that the process which children are forked from imports beforehand, where this call is its
    first; default: the function's.
    """
    context = _context(needs or function.__module__)
    ours, theirs = context.Pipe()
    source, sink = context.Pipe(duplex=False)
    signs, pulse = context.Pipe(duplex=False)
    task = child.Task(dict(os.environ), Path.cwd(), function, arguments)
    process = context.Process(target=child.run_task, args=(theirs, sink, pulse, task))  # type: ignore[attr-defined]
    process.start()
    for end in (theirs, sink, pulse):
        end.close()
    output, watch = OutputTail(os.dup(source.fileno())), LimitWatch(process.pid, limits, signs.fileno())
    source.close()
    try:
        return _converse(ours, process, watch, answers, look)
    finally:
        watch.kill()
        process.join()
        ours.close()
        signs.close()
        if log is not None:
            with suppress(OSError):  # a full disk: the record matters more
                output.save(log)


def _call_here(function: Callable[..., Any], arguments: tuple[Any, ...], answers: _Answers) -> Any:
    try:
        return function(answers, *arguments)
    except (UserError, OSError):
        raise
    except Exception as error:
        raise ChildEnded(describe(error)) from error


@cache
def _start_method() -> BaseContext:
    """Have children forked from a process that has imported what they need and done nothing else.

    Where there is such a thing.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    return multiprocessing.get_context("forkserver")


def get_ready(*modules: str) -> None:
    """Start the process that children are forked from, where there is such a thing.

    It imports `modules` while this process does other things. Raises UserError where it cannot be started.
    """
    if not _here and isinstance(_context(*modules), ForkServerContext):
        try:
            forkserver.ensure_running()
        except OSError as error:
            folder = tempfile.gettempdir()
            raise UserError(
                f"cannot start processes: {error}; TMPDIR is {folder}, and may need a shorter path"
            ) from error


def _context(*modules: str) -> BaseContext:
    """The first caller's `modules` are what that process imports before it is forked."""
    context = _start_method()
    context.set_forkserver_preload(list(modules))
    return context


def _converse(
    connection: Connection, process: "BaseProcess", watch: LimitWatch, answers: _Answers, look: Callable[[], None]
) -> Any:
    while True:
        kind, content = _next(connection, process, watch, look)
        if kind == child.QUESTION:
            watch.heard()
            connection.send(answers(content))
            watch.waited()
            watch.check()
            continue
        process.join(LAST_SECONDS)
        if kind == child.RESULT:
            return content
        raise content if kind == child.RAISED else ChildEnded(content)


def _next(
    connection: Connection, process: "BaseProcess", watch: LimitWatch, look: Callable[[], None]
) -> tuple[str, Any]:
    """The child's next message. Raises ChildDied when there will be none, ChildEnded when it is beyond a limit."""
    with suppress(EOFError, ConnectionError):
        while process.is_alive() or connection.poll(0):
            if connection.poll(POLL_SECONDS):
                return _received(connection)
            watch.check()
            look()
    process.join(LAST_SECONDS)
    raise ChildDied(how_it_ended(process.exitcode))


def _received(connection: Connection) -> tuple[str, Any]:
    """The message that is there. A plugin may have written into the pipe too."""
    try:
        kind, content = connection.recv()
    except (EOFError, ConnectionError):
        raise
    except Exception as error:  # unpickling raises whatever it trips over
        raise ChildEnded(f"its process sent something that is not an answer: {describe(error)}") from error
    return kind, content


def is_supervised() -> bool:
    """Say whether what runs in this process is bound by limits already, or is not to be."""
    return _here or PULSE.is_watched
