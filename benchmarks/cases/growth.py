"""D: the product's rates with a long history in its tables, and with more worker processes."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.cases.checkouts import drained
from benchmarks.cases.webhooks import taken_in
from benchmarks.product import Product
from benchmarks.results import Sample, summaries
from benchmarks.stage import Numbers, Stage, say
from benchmarks.table import Column, table

NAME, WEBHOOKS, PROCESSES = "D", "D-webhooks", "D-processes"
COLUMNS = (
    Column("per s", "rate"),
    Column("worker us/job", "worker_us"),
    Column("web us/req", "web_us"),
    Column("database", "database_us"),
    Column("others' cores", "others_cores", "{:.2f}".format),
)
FEW = 50
"""Jobs in flight of each process when processes are compared: so few that cores stay free, and only the gateway's
300 ms limits each."""


def run(stage: Stage) -> None:
    """Each history in a database of its own, measured in turns, so that a slow minute slows all of them; then
    processes, on an empty database."""
    if not stage.ours():
        return
    grown: dict[str, Product] = {}
    for rows in stage.options.size.old:
        side, product = f"{rows:,} old orders", stage.product_apart(f"old_{rows}")
        if stage.measure("D-load", side, _grow, product, rows).problem:
            break
        grown[side] = product
    for _ in range(stage.options.size.repetitions):
        for side, product in grown.items():
            _history(stage, product, side)
    few = Product(stage.bed, stage.product_database, FEW)
    for _ in range(stage.options.size.repetitions):
        for count in stage.options.size.processes:
            stage.measure(PROCESSES, f"{count} x {FEW} jobs", drained, stage, few, count)


def _grow(product: Product, rows: int) -> Numbers:
    say(f"loading history up to {rows:,} orders")
    return {"bytes": product.orders.grow_to(rows)}


def _history(stage: Stage, product: Product, side: str) -> None:
    stage.measure(NAME, side, drained, stage, product, keep=True)
    stage.measure(WEBHOOKS, side, taken_in, stage, product, keep=True)
    product.forget_jobs()


def show(samples: Sequence[Sample], product: str) -> str:
    """Each compared with its first row."""
    headings = {
        NAME: f"D. {product}: checkouts by history",
        WEBHOOKS: f"D. {product}: webhooks taken in by history",
        PROCESSES: f"D. {product}: worker processes",
    }
    parts = []
    for case, heading in headings.items():
        found = summaries(samples, case)
        first = found[0].median("rate") if found else None
        parts.append(f"{heading}\n\n{table(found, COLUMNS, first, 'rate')}")
    return "\n\n".join(parts)
