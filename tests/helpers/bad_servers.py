"""Tracking servers that do what servers do when they are ill."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"experiment": '
ERROR = b"HTTP/1.1 500 Error\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"


def keeps_silent(client: socket.socket, over: threading.Event) -> None:
    """Reads, and never answers."""
    over.wait()


def answers_byte_by_byte(client: socket.socket, over: threading.Event) -> None:
    """One byte a second: no timeout between two bytes ever passes."""
    for byte in ANSWER + b" " * 100_000:
        client.sendall(bytes([byte]))
        if over.wait(0.5):
            return


def dies_midway(client: socket.socket, over: threading.Event) -> None:
    """Half an answer."""
    client.recv(2**16)
    client.sendall(ANSWER)


def has_an_error(client: socket.socket, over: threading.Event) -> None:
    """500, to everything."""
    client.recv(2**16)
    client.sendall(ERROR)


ILL: dict[str, Callable[[socket.socket, threading.Event], None]] = {
    "hanging": keeps_silent,
    "byte by byte": answers_byte_by_byte,
    "dying midway": dies_midway,
    "500": has_an_error,
}


@dataclass
class BadServer:
    """`asked`: when somebody connected, in monotonic seconds."""

    uri: str
    asked: list[float] = field(default_factory=list)


@contextmanager
def bad_server(kind: str) -> Iterator[BadServer]:
    """A server of that kind of `ILL`, or "dead": nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = BadServer(f"http://127.0.0.1:{listener.getsockname()[1]}")
        if kind == "dead":
            yield server
            return
        listener.listen()
        over = threading.Event()
        threading.Thread(target=_serve, args=(listener, kind, server, over), daemon=True).start()
        yield server
        over.set()


def _serve(listener: socket.socket, kind: str, server: BadServer, over: threading.Event) -> None:
    with suppress(OSError):
        while not over.is_set():
            client, _ = listener.accept()
            server.asked.append(time.monotonic())
            threading.Thread(target=_treat, args=(client, kind, over), daemon=True).start()


def _treat(client: socket.socket, kind: str, over: threading.Event) -> None:
    with suppress(OSError), client:
        ILL[kind](client, over)
