"""Whatever a plugin does to its process costs its own run only."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from dynbench.errors import UserError
from dynbench.isolate.call import call
from dynbench.isolate.child import Ask
from dynbench.isolate.limits import ChildEnded
from dynbench.isolate.module import run_module
from dynbench.isolate.output import KEPT
from dynbench.isolate.process_tree import ProcessTree
from dynbench.record.folder import ResultsFolder
from dynbench.suite.schema import Limits
from tests.conftest import Cli

ROOT = Path(__file__).parents[2]
LIMITS = Limits(silence_minutes=2)
BRIEF = Limits(silence_minutes=0.02)


def adds(ask: Ask, number: int) -> int:
    return number + int(ask("how much?"))


def says_its_process(ask: Ask) -> int:
    return os.getpid()


def has_imported(ask: Ask, module: str) -> bool:
    return module in sys.modules


def raises(ask: Ask) -> None:
    raise ZeroDivisionError("as planned")


def blames_the_user(ask: Ask) -> None:
    raise UserError("fix this")


def leaves(ask: Ask, code: int) -> None:
    sys.exit(code)


def leaves_at_once(ask: Ask, code: int) -> None:
    os._exit(code)


def is_killed(ask: Ask, number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def hangs(ask: Ask) -> None:
    time.sleep(1000)


def asks(ask: Ask) -> str:
    for _ in range(8):
        ask("still there")
    return "done"


def leaks(ask: Ask) -> None:
    kept = []
    while True:
        kept.append(bytearray(os.urandom(2**20)) * 16)
        time.sleep(0.01)


def leaks_and_talks(ask: Ask) -> None:
    kept = []
    while True:
        kept.append(bytearray(os.urandom(2**20)) * 4)
        ask("still there")


def prints(ask: Ask, size: int) -> None:
    os.write(1, b"x" * size)
    print("the end", file=sys.stderr)


def starts_others(ask: Ask) -> int:
    """Leaves a process and a thread that never end."""
    threading.Thread(target=time.sleep, args=(1000,)).start()
    return subprocess.Popen(["sleep", "1000"]).pid


def leaves_a_daemon(ask: Ask, seconds: float, code: int | None = None) -> int:
    """Leaves a process in a session of its own whose parent has ended; with a code, ends itself `seconds` later."""
    daemon = int(subprocess.check_output(["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $!"]))
    ask(daemon)
    time.sleep(seconds)
    if code is not None:
        os._exit(code)
    return daemon


def environment_and_folder(ask: Ask) -> tuple[str | None, str]:
    return os.environ.get("DYNBENCH_TEST"), str(Path.cwd())


def how_it_ends(function: Any, *arguments: Any, limits: Limits = LIMITS) -> str:
    with pytest.raises(ChildEnded) as raised:
        call(function, *arguments, limits=limits)
    return str(raised.value)


def test_it_answers_from_another_process_and_may_ask() -> None:
    assert call(adds, 2, limits=LIMITS, answers=lambda question: {"how much?": 40}[question]) == 42
    assert call(says_its_process, limits=LIMITS) != os.getpid()


def test_what_it_raises() -> None:
    assert how_it_ends(raises) == "ZeroDivisionError: as planned"
    with pytest.raises(UserError, match="fix this"):
        call(blames_the_user, limits=LIMITS)


def test_however_it_ends_itself_it_is_said() -> None:
    assert how_it_ends(leaves, 3) == "SystemExit: 3"
    assert how_it_ends(leaves_at_once, 0) == "its process ended by itself, with exit code 0, before it was done"
    assert how_it_ends(is_killed, signal.SIGSEGV) == "its process was ended by signal SIGSEGV"
    assert how_it_ends(is_killed, signal.SIGKILL).endswith("SIGKILL, as the system does when memory runs out")


def test_silence_is_ended() -> None:
    assert how_it_ends(hangs, limits=BRIEF) == "no sign of progress for 0.02 minutes: it was ended"


def test_what_talks_is_not_ended_however_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer takes nearly as long as silence may."""
    now = [0.0]
    monkeypatch.setattr("dynbench.isolate.limits.time", SimpleNamespace(monotonic=lambda: now[0]))

    def answer(_: object) -> None:
        now[0] += 100

    assert call(asks, limits=LIMITS, answers=answer) == "done"
    assert now[0] > 60 * LIMITS.silence_minutes


def test_memory_that_runs_over_is_ended() -> None:
    ended = how_it_ends(leaks, limits=Limits(silence_minutes=2, memory_gib=1.5))
    assert ended.startswith("it took ")
    assert ended.endswith(" GiB of memory, where 1.5 GiB are allowed: it was ended")


def test_memory_of_a_child_that_never_stops_talking_is_watched_too() -> None:
    with pytest.raises(ChildEnded, match=r"of memory, where 1.5 GiB are allowed"):
        call(leaks_and_talks, limits=Limits(silence_minutes=2, memory_gib=1.5), answers=lambda _: None)


def test_what_it_prints_goes_to_a_file_that_stays_small(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "output.log"
    call(prints, 2**20, limits=LIMITS, log=log)
    content = log.read_bytes()
    assert re.match(rb"\(9\d{5} bytes before this\)\nxxx", content)
    assert b"xxxthe end\n" in content  # what measures coverage may have more to say
    assert len(content) < KEPT + 100
    call(says_its_process, limits=LIMITS, log=tmp_path / "nothing.log")
    assert not (tmp_path / "nothing.log").exists()
    assert capfd.readouterr() == ("", "")


def test_nothing_that_it_started_outlives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynbench.isolate.call.LAST_SECONDS", 0.5)
    started = call(starts_others, limits=LIMITS)
    assert has_ended(started)


def test_a_daemon_that_it_leaves_behind_goes_with_it() -> None:
    assert has_ended(call(leaves_a_daemon, 0, limits=LIMITS, answers=lambda _: None))


def test_a_daemon_of_a_child_that_dies_goes_too_once_it_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynbench.isolate.limits.LOOK_SECONDS", 0)
    daemons: list[int] = []
    with pytest.raises(ChildEnded, match="exit code 3"):
        call(leaves_a_daemon, 1, 3, limits=LIMITS, answers=daemons.append)
    assert all(map(has_ended, daemons))


def test_a_process_that_has_taken_up_the_id_of_one_that_was_seen_is_left_alone() -> None:
    other = subprocess.Popen(["sleep", "1000"])
    try:
        family = ProcessTree(other.pid)
        (seen,) = family.look()
        seen._ident = (other.pid, 0)  # as if it were of a process that was created at another time
        family.kill()
        assert is_running(other.pid)
    finally:
        other.kill()
        other.wait()


def test_it_sees_the_environment_and_folder_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNBENCH_TEST", "now")
    monkeypatch.chdir(tmp_path)
    assert call(environment_and_folder, limits=LIMITS) == ("now", str(tmp_path))


def has_ended(pid: int) -> bool:
    """Soon: a signal takes effect when the system gets to it."""
    for _ in range(2000):
        if not is_running(pid):
            return True
        time.sleep(0.05)
    return False


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_module_that_fails_hangs_or_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "module.py").write_text(
        "import sys, time\nprint('x' * 10**6)\nif sys.argv[1] == 'hang': time.sleep(1000)\nsys.exit(sys.argv[1])\n"
    )
    with pytest.raises(ChildEnded, match=r"^the reason$"):
        run_module("module", "the reason", limits=LIMITS)
    with pytest.raises(ChildEnded, match="no sign of progress"):
        run_module("module", "hang", limits=BRIEF)


def test_a_daemon_of_a_module_goes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    (tmp_path / "module.py").write_text(
        "import subprocess, sys\n"
        "from pathlib import Path\n"
        "command = 'setsid sleep 1000 >/dev/null 2>&1 & echo $!'\n"
        "Path(sys.argv[1]).write_bytes(subprocess.check_output(['sh', '-c', command]))\n"
    )
    run_module("module", str(tmp_path / "pid"), limits=LIMITS)
    assert has_ended(int((tmp_path / "pid").read_text()))


# A whole suite

PLUGIN = """
import os, sys, time
from dynbench_methods.dense import Dense

class Config(Dense.Config):
    deed: str = "none"

class Rogue(Dense):
    name = "rogue"
    Config = Config

    def loss(self, model, x, y, progress, recipe):
        deed = self.config.deed
        if deed == "exit":
            sys.exit(7)
        if deed == "crash":
            os.abort()
        if deed == "hang":
            time.sleep(1000)
        if deed == "print":
            print("y" * 10**5)
        return super().loss(model, x, y, progress, recipe)
"""
SUITE = """
name: rogues
data: digits
backbones: [{name: resnet8, width: 0.25}]
recipe: {epochs: 1, batch_size: 256}
methods: [{name: rogue, params: {deed: [exit, crash, hang, print]}}, dense]
tracking: none
latency: none
limits: {silence_minutes: 1, planning_minutes: 0.5}
"""


def install(folder: Path) -> dict[str, str]:
    """Install the plugin; returns the environment in which it is found."""
    info = folder / "rogue-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "rogue.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rogue\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dynbench.methods]\nrogue = rogue:Rogue\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


def test_rogues_in_a_suite_cost_their_own_runs_only(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "rogues.yaml").write_text(SUITE)
    done = cli("run", "rogues.yaml", "--results", "results", env=install(tmp_path / "plugins"))
    assert done.returncode == 1, done.stderr
    assert len(done.stdout) < 10_000
    records = {
        record.run.given.get("deed", record.run.method): record
        for record in ResultsFolder(tmp_path / "results").records()
    }
    assert {name: record.error for name, record in records.items()} == {
        "exit": "SystemExit: 7",
        "crash": "its process was ended by signal SIGABRT",
        "hang": "no sign of progress for 1 minutes: it was ended",
        "print": None,
        "dense": None,
    }
    log = tmp_path / "results" / "work" / records["print"].run_id / "output.log"
    assert KEPT <= log.stat().st_size < KEPT + 100


MADE_READY = """\
import sys
from dynbench.isolate.call import call, get_ready
from tests.isolate.test_isolate import LIMITS, has_imported

if __name__ == "__main__":
    get_ready("colorsys")
    print(call(has_imported, "colorsys", limits=LIMITS), "colorsys" in sys.modules)
"""


def test_what_is_made_ready_is_imported_where_children_come_from(tmp_path: Path) -> None:
    """Not here: this process has other things to do meanwhile. In a new process, which has no children yet."""
    script = tmp_path / "script.py"
    script.write_text(MADE_READY)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    result = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True, timeout=100
    )
    assert result.stdout.split() == ["True", "False"]
