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


def run_module(name, *arguments):
    """Runs a module of the tests to its end."""
    _wait_for([_start(name, arguments, {})])


def run_workers(name, *arguments_of_workers):
    """Runs a module as the workers of a cluster on this machine.

    Args:
        name: The module.
        *arguments_of_workers: For each worker a list of arguments.
    """
    environments = worker_environments(len(arguments_of_workers))
    _wait_for(
        [
            _start(name, arguments, environment)
            for arguments, environment in zip(arguments_of_workers, environments, strict=True)
        ]
    )


def worker_environments(count):
    """What makes a process a worker of a cluster on this machine, for each of them."""
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
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def _wait_for(processes, seconds=500):
    """Waits for processes; kills all of them as soon as one fails or takes too long."""

    def finish(process):
        try:
            _, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            _, errors = process.communicate()
            errors += f"\nkilled after {seconds} seconds"
        if process.returncode:
            # The others would wait for this one.
            for each in processes:
                each.kill()
        return errors

    with concurrent.futures.ThreadPoolExecutor(len(processes)) as threads:
        errors = list(threads.map(finish, processes))
    if any(process.returncode for process in processes):
        pytest.fail(
            "\n\n".join(
                f"{' '.join(process.args)} ended with {process.returncode}:\n{text[-5000:]}"
                for process, text in zip(processes, errors, strict=True)
            )
        )
