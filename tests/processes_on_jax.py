"""Processes in which Keras runs on JAX, with eight virtual devices."""

import os
import pathlib
import subprocess
import sys
from importlib import metadata

from packaging.version import Version

ENVIRONMENT = {
    "KERAS_BACKEND": "jax",
    "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
    # Threads; see `jax_environment` of `tests.distribution.processes`.
    "NPROC": "16",
    # There is little to compute, and much to compile.
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
}
# Halves the compilation time, but the programs round in different places. Earlier versions, which
# have no such emitters, fail on unknown flags.
WITHOUT_EMITTERS = (
    {"XLA_FLAGS": f"{ENVIRONMENT['XLA_FLAGS']} --xla_cpu_use_fusion_emitters=false"}
    if Version(metadata.version("jaxlib")) >= Version("0.6")
    else {}
)


def run_on_jax(module, *arguments, **environment):
    """Runs `python -m module` with arguments and additional environment variables.

    Returns:
        Its exit code and all of its output.
    """
    finished = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=pathlib.Path(__file__).parents[1],
        env=os.environ | ENVIRONMENT | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return finished.returncode, finished.stdout
