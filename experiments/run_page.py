"""Runs the Python code of a documentation page, from the first line to the last.

The pictures of a page are made by its own code:

    cd docs/tutorials && python ../../experiments/run_page.py ccp_step_by_step.md
"""

import pathlib
import re
import sys
from typing import Any


def read_code(page: str | pathlib.Path) -> str:
    """Returns the code in a page's blocks that begin with three backticks and `python`."""
    text = pathlib.Path(page).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE))


def run_code(code: str) -> dict[str, Any]:
    """Runs code as a program and returns the names that it leaves."""
    names = {"__name__": "__main__"}
    exec(compile(code, "<page>", "exec"), names)
    return names


if __name__ == "__main__":
    run_code(read_code(sys.argv[1]))
