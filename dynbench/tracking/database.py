"""MLflow's SQLite file, which is there whole or not at all.

MLflow makes its tables one by one, and never recovers when it is killed meanwhile.
"""

import os
import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock

Make = Callable[[str], object]
"""Has MLflow make a database at a URI."""
LOCK_SECONDS = 10
"""Two processes that fix the same file take turns; one that is stuck is not waited for."""


def make_database(file: Path, make: Make) -> None:
    """Have a database at `file`, unless there is one: it is made elsewhere, and appears in one step.

    Raises OSError or sqlite3.Error when it cannot be written, and what `make` raises.
    """
    if file.exists() and _tables(file):
        return
    with _fresh(make) as fresh:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists():
            _repair(file, fresh)
        else:
            _appear(file, fresh)


def repair_database(file: Path, make: Make) -> bool:
    """Make the database at `file` again when it holds no run: its making was interrupted.

    False: it was left alone. Raises as `make_database`.
    """
    if not is_without_runs(file):
        return False
    with _fresh(make) as fresh:
        _repair(file, fresh)
    return True


def is_without_runs(file: Path) -> bool:
    """Say whether `file` is a SQLite file in which MLflow has no run."""
    try:
        tables = _tables(file)
        with closing(_opened(file)) as database:
            return "runs" not in tables or database.execute("SELECT 1 FROM runs LIMIT 1").fetchone() is None
    except sqlite3.Error:
        return False


@contextmanager
def _fresh(make: Make) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dynbench-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "fresh.db"
        make(f"sqlite:///{path}")
        yield path


def _appear(file: Path, fresh: Path) -> None:
    """Another process may be as far just now: the first one's stays, it may have runs by then."""
    staged = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    try:
        _copy(fresh, staged)
        os.link(staged, file)
    except FileExistsError:
        pass
    finally:
        staged.unlink(missing_ok=True)


def _repair(file: Path, fresh: Path) -> None:
    """In place, in one transaction: connections that are open to it continue."""
    with FileLock(f"{file}.lock", timeout=LOCK_SECONDS):
        if is_without_runs(file) and _tables(file) != _tables(fresh):
            _copy(fresh, file)


def _copy(source: Path, target: Path) -> None:
    with closing(_opened(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def _opened(file: Path) -> sqlite3.Connection:
    """Raises sqlite3.Error when it is not there. It may be written to: what a kill has left half done is undone."""
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True)


def _tables(file: Path) -> dict[str, str]:
    """What there is in it, by name, and how far MLflow's migrations have come."""
    with closing(_opened(file)) as database:
        found: dict[str, str] = dict(database.execute("SELECT name, coalesce(sql, '') FROM sqlite_master"))
        if "alembic_version" in found:
            found["alembic_version"] = str(database.execute("SELECT version_num FROM alembic_version").fetchall())
        return found
