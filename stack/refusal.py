"""Why the stack does not start."""


class Refused(Exception):
    """The message is one line: what is in the way, and what to do about it."""
