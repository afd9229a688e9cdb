"""Programs in processes of their own, because a process can have one strategy only."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def run_module(name, *arguments, **environment):
    """Runs a module to its end, with additional environment variables."""
    _wait_for([_start(name, arguments, environment)])


def run_with_jax(name, *arguments, devices=8, **environment):
    """Runs a module with JAX as Keras's backend and a number of virtual devices.

    Args:
        name: The module.
        *arguments: Its arguments.
        devices: How many devices there are.
        **environment: Additional environment variables.
    """
    run_module(name, *arguments, **jax_environment(devices), **environment)


def jax_environment(devices):
    """Environment variables that make a process use JAX with a number of virtual devices."""
    return {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        # Threads. By default there are only as many as devices: a thread that spreads a large
        # product over the others would wait for threads that wait for it.
        "NPROC": str(2 * devices),
    }


def run_jax_processes(name, *arguments_of_processes, devices, **environment):
    """Runs a module in JAX processes that train together, with a number of devices each."""
    (port,) = _free_ports(1)
    environment |= jax_environment(devices) | {
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"localhost:{port}",
        "KERAS_DISTRIBUTION_NUM_PROCESSES": str(len(arguments_of_processes)),
    }
    _wait_for(
        [
            _start(name, arguments, environment | {"KERAS_DISTRIBUTION_PROCESS_ID": str(index)})
            for index, arguments in enumerate(arguments_of_processes)
        ]
    )


def run_workers(name, *arguments_of_workers):
    """Runs a module as the workers of a cluster on this machine.

    Args:
        name: The module.
        *arguments_of_workers: A list of arguments for each worker.
    """
    environments = worker_environments(len(arguments_of_workers))
    _wait_for(
        [
            _start(name, arguments, environment)
            for arguments, environment in zip(arguments_of_workers, environments, strict=True)
        ]
    )


def worker_environments(count):
    """The environment variables of each worker of a cluster on this machine."""
    cluster = {"worker": [f"localhost:{port}" for port in _free_ports(count)]}
    tasks = [{"type": "worker", "index": index} for index in range(count)]
    return [{"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})} for task in tasks]


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]


def _start(name, arguments, environment):
    return subprocess.Popen(
        [sys.executable, "-m", name, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def _wait_for(processes, seconds=500):
    """Waits for processes; kills all of them as soon as one fails or takes too long."""

    def finish(process):
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            output += f"\nkilled after {seconds} seconds"
        if process.returncode:
            # The others would wait for this one.
            for each in processes:
                each.kill()
        return output

    with concurrent.futures.ThreadPoolExecutor(len(processes)) as threads:
        outputs = list(threads.map(finish, processes))
    if any(process.returncode for process in processes):
        pytest.fail(
            "\n\n".join(
                f"{' '.join(process.args)} ended with {process.returncode}:\n{text[-5000:]}"
                for process, text in zip(processes, outputs, strict=True)
            )
        )
