"""Runs in processes that are killed or interrupted, against runs that are not."""

import json
import os
import pathlib
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from tests.distribution.processes import jax_environment
from tests.experiment.small_run import without_seconds

ROOT = pathlib.Path(__file__).parents[2]
DIGITS = (
    f"--flagfile={ROOT / 'experiments' / 'digits.flags'}",
    "--steps_per_validation=5",
    "--warmup_steps=10",
    "--round_patience=1",
    "--learning_rate=1e-3",
    "--plateau_patience=2",
    "--noreport",
)
MANY = (
    "--memory_batches=4",
    "--memory_start_step=20",
    "--first_phase_steps=30",
    "--variational_samples=3",
    "--first_phase_weights=1e-3,1e-3,.1,1",
    "--second_phase_weights=1e-3,1e-3,.1,1",
)
CASES = {
    "ccp with a figure": (
        *DIGITS,
        # Eight validations: two of the warm-up and three rounds of two, after two renewals.
        "--max_steps=40",
        "--method=ccp",
        "--figure_rounds=1",
        "--label_noise=0.2",
        "--proxy_selection=random",
        "--max_renewals=2",
        "--max_round_validations=2",
    ),
    "plain and ccp": (*DIGITS, "--max_steps=300", "--figure_rounds=1"),
    "together": (
        *DIGITS,
        *MANY,
        "--max_steps=150",
        "--method=ccp+xbm,dvml,ccp+xbm+dvml",
        "--figure_rounds=0",
    ),
    "letters": (
        f"--flagfile={ROOT / 'experiments' / 'letters.flags'}",
        "--max_steps=150",
        "--steps_per_validation=50",
        "--freeze_backbone_epochs=1",
        "--optimizer=adamw",
        "--learning_rate_schedule=cosine",
        "--learning_rate_warmup_steps=60",
        "--ema_momentum=0.9",
        "--noreport",
    ),
}
# After every step or two.
OFTEN = "--checkpoint_minutes=0.0005"


def start(arguments, workdir, backend="tensorflow"):
    """Starts a run whose console is a file beside its folder."""
    with open(f"{workdir}.txt", "w") as console:
        return subprocess.Popen(
            [sys.executable, "-m", "ccp_dml.main", *arguments, f"--workdir={workdir}"],
            stdout=console,
            stderr=console,
            cwd=ROOT,
            env={**os.environ, "KERAS_BACKEND": backend},
        )


def console_of(workdir):
    return pathlib.Path(f"{workdir}.txt").read_text()


def finish(arguments, workdir, backend="tensorflow"):
    """Makes a run and returns how many seconds it took."""
    began = time.monotonic()
    assert start(arguments, workdir, backend).wait() == 0, console_of(workdir)
    return time.monotonic() - began


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The folder of a run that was not interrupted, and its seconds."""
    made = {}

    def of(case):
        if case not in made:
            workdir = tmp_path_factory.mktemp("uninterrupted") / "run"
            made[case] = workdir, finish((*CASES[case], OFTEN), workdir)
        return made[case]

    return of


def wait_for_step(process, workdir, method, step):
    """Waits for a checkpoint of this step or a later one."""
    checkpoints = workdir / "checkpoints" / method
    while process.poll() is None:
        steps = [int(path.name.split("-")[1]) for path in checkpoints.glob("step-*.npz")]
        if max(steps, default=-1) >= step:
            return
        try:
            process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError(f"the process ended before step {step}: {console_of(workdir)}")


def copy_as_if_killed(process, workdir, copy):
    """Copies the folder of a run as a kill would leave it now; the run continues afterwards."""
    process.send_signal(signal.SIGSTOP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), console_of(workdir)
    shutil.copytree(workdir, copy)
    process.send_signal(signal.SIGCONT)


def kill_at(seconds, arguments, workdir):
    """Lets a run live for some seconds; returns whether it lived that long."""
    process = start(arguments, workdir)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    assert process.returncode == 0, console_of(workdir)
    return False


def assert_same_run(ours, theirs):
    """All numbers of two run folders are equal, and there are the same files."""
    read = [json.loads((folder / "results.json").read_text()) for folder in (ours, theirs)]
    assert without_seconds(read[0]) == without_seconds(read[1])
    hidden = {".lock"}
    names = [
        {str(path.relative_to(folder)) for path in folder.rglob("*") if "tfevents" not in path.name}
        - hidden
        for folder in (ours, theirs)
    ]
    assert names[0] == names[1]
    assert not [name for name in names[0] if "unfinished" in name or "checkpoints" in name]
    for name in names[0]:
        if name.endswith("history.csv"):
            assert (ours / name).read_bytes() == (theirs / name).read_bytes()
        elif name.endswith(".npz"):
            with np.load(ours / name) as one, np.load(theirs / name) as other:
                assert one.files == other.files
                for key in one.files:
                    np.testing.assert_array_equal(one[key], other[key])
        elif name.endswith(".keras"):
            networks = [keras.models.load_model(folder / name) for folder in (ours, theirs)]
            for one, other in zip(*(each.get_weights() for each in networks), strict=True):
                np.testing.assert_array_equal(one, other)


# `test_results.py` interrupts runs at other places, such as the figure. Below, SIGTERM interrupts a
# run on JAX.
def test_an_interrupted_run_resumes_with_the_command_it_names(run_command, caplog, tmp_path):
    case = "ccp with a figure"
    expected, workdir = tmp_path / "expected", tmp_path / "a run"
    process = start((*CASES[case], OFTEN), workdir)
    wait_for_step(process, workdir, "ccp", 8)
    # As Ctrl-C does.
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    *_, line = console_of(workdir).splitlines()
    assert line.startswith("ccp_dml: interrupted by SIGINT; progress is saved: to resume, run")
    command = shlex.split(line.partition("to resume, run ")[2])
    assert command[:3] == ["python", "-m", "ccp_dml.main"]
    # In this process, because the imports of others would take longer than the runs.
    with caplog.at_level("INFO", logger="absl"):
        run_command(*command[3:], "--noreport")
    assert any("ccp resumes after step" in message for message in caplog.messages)
    run_command(*CASES[case], f"--workdir={expected}")
    assert_same_run(workdir, expected)
    noise = json.loads((workdir / "results.json").read_text())["label_noise"]
    assert noise["replaced"] == round(0.2 * noise["samples"])
    assert noise["classes"] == 5


# Quicker tests kill at chosen moments: `tests/callbacks/test_training_state.py`, and on JAX below.
@pytest.mark.slow
def test_a_run_ends_the_same_however_often_it_is_killed(uninterrupted, tmp_path):
    case = "ccp with a figure"
    expected, seconds = uninterrupted(case)
    moments = random.Random(1)
    workdir = tmp_path / "run"
    for _ in range(2):
        kill_at(moments.uniform(0.4, 0.9) * seconds, (*CASES[case], OFTEN), workdir)
    finish((*CASES[case], OFTEN), workdir)
    assert_same_run(workdir, expected)


@pytest.mark.parametrize(
    ("strategy", "devices"),
    [("none", 1), pytest.param("data_parallel", 2, marks=pytest.mark.slow)],
)
def test_a_killed_and_interrupted_run_with_jax_resumes(strategy, devices, tmp_path, monkeypatch):
    for name, value in jax_environment(devices).items():
        monkeypatch.setenv(name, value)
    # There is little to compute, and much to compile.
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    # The other processes reuse what the first one compiles.
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    case = (
        *DIGITS,
        *MANY,
        "--max_steps=45",
        "--method=ccp+xbm+dvml",
        "--figure_rounds=0",
        "--warmup_steps=5",
        "--plateau_patience=1",
        "--max_round_validations=2",
        f"--strategy={strategy}",
        # Its 17 steps end between the two at which the run is stopped.
        "--freeze_backbone_epochs=1",
        OFTEN,
    )
    expected, workdir = tmp_path / "expected", tmp_path / "run"
    method = "ccp+xbm+dvml"
    process = start(case, expected, "jax")
    wait_for_step(process, expected, method, 12)
    copy_as_if_killed(process, expected, workdir)
    assert process.wait() == 0, console_of(expected)
    results = json.loads((expected / "results.json").read_text())
    assert results["backend"] == "jax"
    assert results["replicas"] == devices
    assert results["ccp+xbm+dvml"]["rounds"]
    process = start(case, workdir, "jax")
    wait_for_step(process, workdir, method, 32)
    process.terminate()
    assert process.wait() == 143, console_of(workdir)
    assert "ccp+xbm+dvml resumes after step" in console_of(workdir)
    assert "to resume, run KERAS_BACKEND=jax python -m ccp_dml.main" in console_of(workdir)
    finish(case, workdir, "jax")
    assert "ccp+xbm+dvml resumes after step" in console_of(workdir)
    assert_same_run(workdir, expected)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(7))
@pytest.mark.parametrize("case", ["plain and ccp", "together", "letters"])
def test_twenty_runs_that_are_killed_at_random_moments(case, seed, uninterrupted, tmp_path):
    expected, seconds = uninterrupted(case)
    moments = random.Random(seed)
    workdir, kills = tmp_path / "run", 0
    # The last process has little or nothing left to do, and ends before it would be killed.
    while kill_at(moments.uniform(0.2, 0.7) * seconds, (*CASES[case], OFTEN), workdir):
        kills += 1
        assert kills < 50
    assert kills
    assert_same_run(workdir, expected)
