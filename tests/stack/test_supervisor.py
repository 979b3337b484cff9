"""The supervisor with real small processes: restarts, the order of stopping, and no orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

from stack.keeper import Backoff
from stack.program import ROOT
from stack.supervisor import Stack
from tests.stack.processes import Transcript, alive, eventually, python

WAITS = "import time; print('up'); time.sleep(3600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(3600)"
SAYS_GOODBYE = (
    "import signal, sys, time\n"
    "def stop(*_): print('goodbye'); sys.exit()\n"
    "signal.signal(signal.SIGTERM, stop); print('up'); time.sleep(3600)"
)
HAS_A_CHILD = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)'])\n"
    "print('child', child.pid); time.sleep(3600)"
)


LEAVES_A_STRANGER = (
    "import subprocess, sys\n"
    "wait = [sys.executable, '-c', 'import time; time.sleep(10)']\n"
    "print('child', subprocess.Popen(wait, start_new_session=True).pid)"
)


def at_once() -> Backoff:
    return Backoff(first=0.01, most=0.01)


def child_of(transcript: Transcript, name: str) -> int:
    transcript.wait_for(name, "child")
    return int(transcript.lines(name)[-1].split()[1])


def test_what_a_program_prints_carries_its_name(transcript: Transcript) -> None:
    with Stack([[python("one", "import sys; print('out'); print('error', file=sys.stderr); " + WAITS)]], transcript):
        transcript.wait_for("one", "up")
    assert transcript.lines("one")[:3] == ["out", "error", "up"]


def test_a_program_that_is_killed_is_started_again(transcript: Transcript) -> None:
    with Stack([[python("one", WAITS)]], transcript, at_once) as stack:
        transcript.wait_for("one", "up")
        first = stack.pid("one")
        assert first
        os.kill(first, signal.SIGKILL)
        transcript.wait_for("one", "ended (signal 9)")
        eventually(lambda: transcript.lines("one").count("up") == 2, "a second start")
        assert stack.pid("one") not in (first, None)


def test_a_program_that_cannot_be_found_is_tried_again_and_said_so(transcript: Transcript) -> None:
    missing = python("one", "")
    missing = type(missing)("one", ("no-such-program",), missing.environment)
    with Stack([[missing]], transcript, at_once):
        eventually(lambda: len(transcript.lines("one")) >= 4, "two attempts")
    assert transcript.lines("one")[0] == "no-such-program: No such file or directory"
    assert transcript.lines("one")[1].startswith("ended (exit status 1); starting again in")


def test_children_that_a_killed_program_left_are_gone_before_it_starts_again(transcript: Transcript) -> None:
    with Stack([[python("one", HAS_A_CHILD)]], transcript, at_once) as stack:
        child = child_of(transcript, "one")
        program = stack.pid("one")
        assert program
        assert alive(child)
        os.kill(program, signal.SIGKILL)
        eventually(lambda: not alive(child), "the child is gone")


def test_a_stranger_who_holds_the_output_delays_no_new_start(transcript: Transcript) -> None:
    with Stack([[python("one", LEAVES_A_STRANGER)]], transcript, at_once):
        stranger = child_of(transcript, "one")
        eventually(lambda: len([line for line in transcript.lines("one") if "child" in line]) == 2, "a second start")
        assert alive(stranger)
    for line in transcript.lines("one"):
        if line.startswith("child"):
            os.kill(int(line.split()[1]), signal.SIGKILL)


def test_stages_stop_one_after_the_other_and_each_may_finish_its_work(transcript: Transcript) -> None:
    stages = [[python(name, SAYS_GOODBYE)] for name in ("web", "worker", "simulator")]
    with Stack(stages, transcript):
        for name in ("web", "worker", "simulator"):
            transcript.wait_for(name, "up")
    assert [name for name, line in transcript.said if line == "goodbye"] == ["web", "worker", "simulator"]


def test_a_program_for_later_starts_when_it_is_told_to_and_stops_with_the_others(transcript: Transcript) -> None:
    stages = [[python("now", SAYS_GOODBYE), replace(python("later", SAYS_GOODBYE), later=True)]]
    with Stack(stages, transcript) as stack:
        transcript.wait_for("now", "up")
        assert stack.pid("later") is None
        stack.start_later()
        transcript.wait_for("later", "up")
    assert sorted(name for name, line in transcript.said if line == "goodbye") == ["later", "now"]


def test_a_program_for_later_that_was_never_started_holds_up_no_stop(transcript: Transcript) -> None:
    with Stack([[replace(python("later", WAITS), later=True)]], transcript):
        pass
    assert transcript.said == []


def test_a_program_that_ignores_the_request_is_killed_after_its_patience(transcript: Transcript) -> None:
    with Stack([[python("deaf", DEAF, patience=0.2)]], transcript) as stack:
        transcript.wait_for("deaf", "up")
        deaf = stack.pid("deaf")
    assert deaf
    assert not alive(deaf)


def test_stopping_does_not_wait_for_a_pause_before_the_next_start(transcript: Transcript) -> None:
    with Stack([[python("one", "")]], transcript, lambda: Backoff(first=3600, most=3600)):
        transcript.wait_for("one", "ended (exit status 0); starting again in 3600 s")
    assert len(transcript.lines("one")) == 1


def test_killing_ends_even_what_is_patient(transcript: Transcript) -> None:
    stack = Stack([[python("deaf", DEAF, patience=3600)]], transcript)
    stack.start()
    transcript.wait_for("deaf", "up")
    deaf = stack.pid("deaf")
    stack.kill()
    assert deaf
    assert not alive(deaf)
    stack.stop()


SUPERVISOR = """
import os, sys, time
from stack.program import Program
from stack.supervisor import Stack

SHOW = "import os, signal, time; print(os.getpid()); "
CODES = {
    "polite": SHOW + "time.sleep(3600)",
    "deaf": "import signal; signal.signal(15, signal.SIG_IGN); " + SHOW + "time.sleep(3600)",
}
programs = [Program(name, (sys.executable, "-uc", code), os.environ, 0.2) for name, code in CODES.items()]
Stack([programs], lambda _, line: os.write(1, line.encode() + b"\\n")).start()
time.sleep(3600)
"""


def test_nothing_outlives_a_supervisor_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", SUPERVISOR], stdout=subprocess.PIPE, text=True, cwd=ROOT) as run:
        try:
            assert run.stdout
            pids = [int(run.stdout.readline()) for _ in range(2)]
            assert [alive(pid) for pid in pids] == [True, True]
        finally:
            run.kill()
    eventually(lambda: not any(alive(pid) for pid in pids), "all of them gone")
