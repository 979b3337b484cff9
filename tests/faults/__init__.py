"""The fault harness: the real programs under faults, and a checker that trusts nobody but clients and the witness.

`python -m tests.faults` runs everything, `--case NAME --seed N` replays one run; docs/reliability.md says more.
"""
