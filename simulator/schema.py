"""The tables of simulator.db. movements and requests are append-only: triggers refuse any change to them."""

from __future__ import annotations

TABLES = ("objects", "deliveries", "timers", "idempotency", "movements", "requests", "meta")

_APPEND_ONLY = """
CREATE TRIGGER IF NOT EXISTS {table}_no_update BEFORE UPDATE ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;
CREATE TRIGGER IF NOT EXISTS {table}_no_delete BEFORE DELETE ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;
"""

SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (          -- every API object, events included
    seq INTEGER PRIMARY KEY AUTOINCREMENT,    -- newest last: lists walk it backwards
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    created INTEGER NOT NULL,
    customer TEXT, payment_intent TEXT, charge TEXT, type TEXT, source TEXT, email TEXT,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS objects_kind ON objects (kind, seq);
CREATE INDEX IF NOT EXISTS objects_created ON objects (kind, created);
CREATE INDEX IF NOT EXISTS objects_customer ON objects (customer, kind, seq) WHERE customer IS NOT NULL;
CREATE INDEX IF NOT EXISTS objects_intent ON objects (payment_intent, kind, seq) WHERE payment_intent IS NOT NULL;
CREATE INDEX IF NOT EXISTS objects_charge ON objects (charge, kind, seq) WHERE charge IS NOT NULL;
CREATE INDEX IF NOT EXISTS objects_source ON objects (source, kind, seq) WHERE source IS NOT NULL;

CREATE TABLE IF NOT EXISTS deliveries (       -- one row per webhook to be sent
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event TEXT NOT NULL,
    due REAL NOT NULL,                        -- simulator clock
    attempts INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL,                      -- pending, delivered, failed, dropped
    fault TEXT,                               -- what is wrong with the first attempt
    last_answer TEXT
);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS deliveries_event ON deliveries (event);

CREATE TABLE IF NOT EXISTS timers (           -- what happens to an object some time later
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    due REAL NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS timers_due ON timers (due);

CREATE TABLE IF NOT EXISTS idempotency (
    key TEXT PRIMARY KEY,
    path TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    request TEXT NOT NULL,
    created REAL NOT NULL
);

CREATE TABLE IF NOT EXISTS movements (        -- signed: positive is money to the merchant
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    amount INTEGER NOT NULL,
    currency TEXT NOT NULL,
    payment_intent TEXT, charge TEXT, refund TEXT, dispute TEXT,
    balance_transaction TEXT,
    metadata TEXT NOT NULL,
    created REAL NOT NULL,                    -- simulator clock
    recorded REAL NOT NULL                    -- the machine's clock
);

CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    request TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    idempotency_key TEXT,
    params_hash TEXT NOT NULL,
    status INTEGER,                           -- NULL: no answer was made
    replayed INTEGER NOT NULL,
    fault TEXT,
    created REAL NOT NULL,
    recorded REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS requests_key ON requests (idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
""" + "".join(_APPEND_ONLY.format(table=table) for table in ("movements", "requests"))
