"""What happens in the child process."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dynbench.errors import UserError, describe
from dynbench.isolate.process_tree import end_descendants, ending_descendants
from dynbench.isolate.pulse import PULSE

Ask = Callable[[Any], Any]
"""Sends something to the parent process and returns its reply."""

QUESTION, RESULT, RAISED, BROKE = "question", "result", "raised", "broke"
"""Kinds of messages. An exception that the parent has to see as it is was `RAISED`; of any other there are words."""


@dataclass(frozen=True)
class Task:
    """What to call, as `function(ask, *arguments)`, in which environment and folder."""

    environment: dict[str, str]
    folder: Path
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def run_task(connection: Connection, output: Connection, signs: Connection, task: Task) -> None:
    """Do the task and send what it returns or raises; give signs of life into `signs` meanwhile."""
    _prepare(output, task)
    PULSE.into(signs.fileno())
    with ending_descendants():
        connection.send(_answer(connection, task))


def _answer(connection: Connection, task: Task) -> tuple[str, Any]:
    try:
        answer: tuple[str, Any] = RESULT, task.function(partial(_ask, connection), *task.arguments)
    except UserError as error:
        answer = RAISED, UserError(str(error))  # a plugin's own kind might not come through a pipe
    except OSError as error:
        answer = RAISED, OSError(error.errno, error.strerror or describe(error))
    except BaseException as error:  # whatever a plugin raises, SystemExit included
        answer = BROKE, describe(error)
    sys.stdout.flush()
    sys.stderr.flush()
    return answer


def _ask(connection: Connection, question: Any) -> Any:
    connection.send((QUESTION, question))
    return connection.recv()


def _prepare(output: Connection, task: Task) -> None:
    os.environ.clear()
    os.environ.update(task.environment)
    os.chdir(task.folder)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for standard in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.dup2(output.fileno(), standard)
    output.close()
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with suppress(OSError):  # Linux: when memory runs out, this process is to go, not its parent
        Path("/proc/self/oom_score_adj").write_text("500")


def _die_with_parent() -> None:
    """Nobody is left to take the answer, and another process may take up the run."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    if not _is_open(parent.sentinel):  # closed by what runs here, which says nothing of the parent
        return
    end_descendants()
    os._exit(1)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
