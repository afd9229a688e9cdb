"""The command line in a process of its own, and its first example."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]

DIGITS = f"--flagfile={ROOT / 'experiments' / 'digits.flags'}"


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "ccp_dml.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
