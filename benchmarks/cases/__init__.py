"""The cases, each a module with `run(stage)` and `show(samples)`."""
