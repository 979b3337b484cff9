"""python -m simulator"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

from simulator.program import Simulator
from simulator.settings import SettingsError, load


def main() -> int:
    """Run until SIGTERM or Ctrl-C. Exit status 2: the settings are wrong or the port is taken."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = load(sys.argv[1:], os.environ)
        simulator = Simulator(settings)
    except (SettingsError, OSError) as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 2
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    with simulator:
        print(f"simulator: {simulator.url}", flush=True)
        done.wait()
    return 0


sys.exit(main())
