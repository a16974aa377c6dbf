"""What was timed, as tables: executors against the dense backbone, and that on static engines."""

from dynbench.analysis.latency import Block, TimedPoint, speed_up
from dynbench.record.schema import EngineRecord, EngineTiming, Timing
from dynbench.report.accuracy_tables import METHOD, POINT
from dynbench.report.layout import Brief, Row, Table, TableColumn, figures


def latency_table(block: Block) -> Table:
    """Tabulate executors: time saved, what the MACs promise, and how much of it came.

    These are `speed-up`, `by MACs` and `realised`, and how much came against the dense backbone on the fastest engine.
    Times are in milliseconds.
    """
    rows = tuple(
        Row(_timing(timed, timing), timed.run.run_id) for timed in block.points for timing in timed.latency.timings
    )
    conditions = block.conditions
    return Table(f"Latency: {conditions.net}", _columns(bool(block.engines)), rows, subtitle=conditions.machine)


def _columns(engines: bool) -> tuple[TableColumn, ...]:
    """Without engines a terminal has no column for the best of them."""
    return (
        METHOD,
        POINT,
        *figures(
            ("batch", "batch"),
            ("p50 ms", "p50\nms"),
            "p90 ms",
            ("p99 ms", "p99\nms"),
            ("dense p50 ms", "dense\nms"),
            ("speed-up", "speed\n-up"),
            ("by MACs", "by\nMACs"),
            ("realised", "real-\nised"),
        ),
        TableColumn("realised_best", brief=Brief("real.\nbest") if engines else None),
        TableColumn("best engine", words=True),
    )


def _timing(timed: TimedPoint, timing: Timing) -> tuple[str, ...]:
    return (
        timed.label,
        timed.point.name,
        str(timing.batch),
        f"{timing.p50_ms:.3g}",
        f"{timing.p90_ms:.3g}",
        f"{timing.p99_ms:.3g}",
        f"{timing.dense_p50_ms:.3g}",
        f"{speed_up(timing):.2f}",
        f"{timed.promised(timing):.2f}",
        f"{timing.realised:.2f}",
        "" if timing.realised_best is None else f"{timing.realised_best:.2f}",
        timing.best_engine or "",
    )


ENGINES = (
    TableColumn("engine", words=True, place="name"),
    TableColumn("version", words=True, place="name"),
    *figures(
        ("batch", "batch"),
        ("p50 ms", "p50\nms"),
        "p90 ms",
        ("p99 ms", "p99\nms"),
        ("images/s", "images\n/s"),
        ("speed-up", "speed\n-up"),
    ),
)


def engines_table(block: Block) -> Table:
    """Tabulate the dense backbone on each engine that it was timed on."""
    rows = (Row(_engine_timing(engine, timing), engine.name) for engine in block.engines for timing in engine.timings)
    return Table("The dense backbone on static engines", ENGINES, tuple(rows), unbroken=True)


def _engine_timing(engine: EngineRecord, timing: EngineTiming) -> tuple[str, ...]:
    return (
        engine.name,
        engine.version,
        str(timing.batch),
        f"{timing.p50_ms:.3g}",
        f"{timing.p90_ms:.3g}",
        f"{timing.p99_ms:.3g}",
        f"{timing.throughput_ips:.0f}",
        f"{1 / timing.of_eager:.2f}",
    )
