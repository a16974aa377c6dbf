"""What a child process prints: kept to its last part, however much it is."""

import os
import threading
from pathlib import Path

from dynbench.files import write_atomically

KEPT = 2**16
"""Bytes."""


class OutputTail:
    """Reads a child's output from file descriptor `source` as it comes, closes it at the end."""

    def __init__(self, source: int) -> None:
        self.total = 0
        """Bytes that were printed."""
        self._source, self._kept = source, b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with os.fdopen(self._source, "rb", buffering=0) as stream:
            while piece := stream.read(KEPT):
                self.total += len(piece)
                self._kept = (self._kept + piece)[-KEPT:]

    def last(self) -> bytes:
        """Return the last `KEPT` bytes. What a process that outlives the child still prints is not waited for."""
        self._thread.join(timeout=1)
        return self._kept

    def save(self, path: Path) -> None:
        """Write the last bytes, with a line that says how many came before; nothing, when nothing was printed."""
        content = self.last()
        if content:
            cut = self.total - len(content)
            write_atomically(path, (f"({cut} bytes before this)\n".encode() if cut else b"") + content)
