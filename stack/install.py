"""Make .venv, or another one, from a lock file: `python3 stack/install.py requirements.lock [FOLDER]`.

It is run by whatever `python3` is, so it keeps to a Python old enough to say that it is too old.
"""

import hashlib
import os
import shutil
import subprocess
import sys

OLDEST = (3, 11)
VENV = ".venv"


def main(lock: str, venv: str = VENV) -> None:
    """Install what the lock file names, unless exactly that was installed before."""
    stamp, python = f"{venv}/installed-{lock}", os.path.join(venv, "bin", "python")
    wanted = _fingerprint(lock)
    if _read(stamp) == wanted:
        return
    _check_python()
    print(f"Setting up {venv} from {lock}", file=sys.stderr)
    uv = shutil.which("uv")
    if uv:  # the same result in a tenth of the time
        if not os.path.exists(python):
            _run(uv, "venv", "--quiet", "--python", sys.executable, venv)
        _run(uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", lock)
    else:
        _run(sys.executable, "-m", "venv", venv)
        _run(python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", lock)
    with open(stamp, "w") as file:
        file.write(wanted)


def _fingerprint(lock: str) -> str:
    with open(lock, "rb") as file:
        return hashlib.sha256(file.read() + sys.version.encode()).hexdigest()


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _check_python() -> None:
    if sys.version_info < OLDEST:
        found, oldest = ".".join(map(str, sys.version_info[:2])), ".".join(map(str, OLDEST))
        sys.exit(f"Python {found} is too old; it should be {oldest} or newer (make PYTHON=python{oldest} ...)")
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        if not shutil.which("uv"):
            sys.exit("Python's venv module is missing; install it (on Debian: apt-get install python3-venv)")


def _run(*command: str) -> None:
    status = subprocess.call(command)
    if status:
        sys.exit(f"{' '.join(command[:4])} ended with exit status {status}")


if __name__ == "__main__":
    main(*sys.argv[1:])
