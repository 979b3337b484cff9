"""What the short ways on PostgreSQL share: one statement that ends many jobs, each under its fence.

Such a statement begins with `given` (a row for each ending, with `job` and `token`) and goes on from `mine`, so that a
replaced attempt writes nothing. The jobs that it ends are its `ended`, whose timelines `noted` writes; it returns a row
for each, which begins with the job's id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from typing import Any, LiteralString, NamedTuple, TypeVar

from core.domain.timeline import Note, shown
from core.statements import columns, run_statement

Ending = TypeVar("Ending", bound=NamedTuple)

# What somebody else holds, of orders and payments, too, is left out rather than waited for: no job waits for a
# neighbour's, and nothing can wait in a circle. A row that changed since the statement began is looked at again, by
# PostgreSQL, when its lock is had.
_MINE: LiteralString = """mine AS MATERIALIZED (
    SELECT jobs.id FROM given JOIN jobs ON jobs.id = job AND jobs.lease_token = token
    FOR UPDATE OF jobs SKIP LOCKED
)"""
_SUCCEEDED: LiteralString = """status = 'succeeded', error = NULL, finished_at = statement_timestamp(),
        lease_token = NULL, lease_expires_at = NULL"""
_NOTED: LiteralString = """noted AS (
    INSERT INTO job_events (job_id, at, what, data)
    SELECT ended.id, note.at, note.what, note.data
    FROM unnest(%(noted)s::uuid[], %(at)s::timestamptz[], %(what)s::text[], %(data)s::jsonb[])
        WITH ORDINALITY AS note (job, at, what, data, place)
    JOIN ended ON ended.id = note.job ORDER BY place
)"""


def whole(sql: LiteralString) -> LiteralString:
    """The statement with `{mine}`, `{succeeded}` (what a job is set to) and `{noted}` written out."""
    return sql.format(mine=_MINE, succeeded=_SUCCEEDED, noted=_NOTED)


def end_together(
    sql: LiteralString, given: Sequence[tuple[Ending, Sequence[Note]]], about: Callable[[Ending], Hashable]
) -> list[tuple[Any, ...] | None]:
    """Run such a statement.

    Args:
        sql: returns a row for each job that it ended, which begins with the job's id.
        given: endings, at least one, whose first field is the job's id, each with the lines of its timeline.
        about: of several endings about one thing only the first is tried: the others must see what it did.

    Returns:
        Of each ending its row, or None if it was not written.
    """
    first = {about(ending): ending for ending, _ in reversed(given)}
    alone = [(ending, notes) for ending, notes in given if first[about(ending)] is ending]
    rows = {row[0]: row for row in run_statement(sql, _parameters(alone))}
    return [rows.get(ending[0]) if first[about(ending)] is ending else None for ending, _ in given]


def _parameters(given: Sequence[tuple[Ending, Sequence[Note]]]) -> dict[str, Any]:
    written = [(ending[0], note) for ending, notes in given for note in notes]
    return {
        **columns([ending for ending, _ in given]),
        "noted": [job for job, _ in written],
        "at": [note.at for _, note in written],
        "what": [shown(note) for _, note in written],
        "data": [None if note.data is None else json.dumps(note.data) for _, note in written],
    }
