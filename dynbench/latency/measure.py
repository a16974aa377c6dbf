"""Times finished runs again, on this machine, each in a process of its own; trains nothing."""

import subprocess
import sys
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

from dynbench.context import weights_path, work_folder
from dynbench.errors import UserError
from dynbench.latency.request import Answer, Request
from dynbench.record import Record, write_record


def time_record(record: Record, request: Request) -> Record:
    """Time one finished run and write its record anew. Raises UserError when its weights are not there, when another
    process works on it, or when timing fails."""
    if not weights_path(request.results, record.run_id).is_file():
        raise UserError(
            f"{record.run_id} has no trained weights in {work_folder(request.results, record.run_id)}; "
            "records that were copied here without them cannot be timed: run the suite again"
        )
    try:
        with FileLock(work_folder(request.results, record.run_id) / "lock", timeout=0):
            answer = _ask(request)
            timed = _with_latency(record, answer)
            write_record(request.results, timed)
            return timed
    except Timeout as error:
        raise UserError(f"{record.run_id} is being run by another process; time it when that is done") from error


def _ask(request: Request) -> Answer:
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder) / "request.json", Path(folder) / "answer.json"
        question.write_text(request.model_dump_json())
        worker = [sys.executable, "-m", "dynbench.latency.worker", str(question), str(answer)]
        done = subprocess.run(worker, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise UserError(f"timing {request.run_id} failed: {reason}")
        return Answer.model_validate_json(answer.read_bytes())


def _with_latency(record: Record, answer: Answer) -> Record:
    points = tuple(point.model_copy(update={"latency": answer.points.get(point.name)}) for point in record.points)
    return record.model_copy(update={"points": points})
