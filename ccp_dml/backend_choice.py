"""Check of the backend of Keras before Keras is imported."""

import importlib.util
import os
import sys

_PACKAGES = {"tensorflow": "tensorflow", "jax": "ccp_dml[jax]"}


def check_backend_choice():
    """Checks that the environment variable `KERAS_BACKEND` names a usable backend.

    Keras itself would fail on import with an error of the backend's packages. A program started
    with `python -m` ends with one line instead.

    Raises:
        ImportError: If this package does not run on the backend, or the backend is not installed.
    """
    problem = _find_problem(os.environ.get("KERAS_BACKEND"))
    if problem is None:
        return
    # While Python searches for the module to run, `sys.argv` has an option in place of its path.
    if sys.argv[:1] == ["-m"]:
        print(f"ccp_dml: {problem}", file=sys.stderr)
        raise SystemExit(2)
    raise ImportError(problem)


def _find_problem(name):
    # Without the variable, Keras's own configuration decides; see `ccp_dml.backend`.
    if not name:
        return None
    if name not in _PACKAGES:
        return f"KERAS_BACKEND must be one of {', '.join(_PACKAGES)}; got {name}"
    if importlib.util.find_spec(name) is None:
        return f'KERAS_BACKEND is {name}, which is not installed: pip install "{_PACKAGES[name]}"'
    return None
