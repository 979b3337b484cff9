"""How the programs run together: supervisor of `make run`, embedded broker, beat's scheduler."""
