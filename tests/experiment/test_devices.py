"""The command line on several devices and with several workers, as processes."""

import contextlib
import csv
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys

import pytest

from ccp_dml.distribution.tensorflow import strategies
from tests.distribution.processes import worker_environments

ROOT = pathlib.Path(__file__).parents[2]
MAIN = ("-m", "ccp_dml.main")
TWO_CPUS = ("-m", "tests.experiment.main_on_cpus", "2")
DIGITS = (
    f"--flagfile={ROOT / 'experiments' / 'digits.flags'}",
    "--method=ccp",
    "--steps_per_validation=5",
    "--warmup_steps=10",
    "--round_patience=1",
    "--learning_rate=1e-3",
    "--max_steps=30",
    "--figure_rounds=1",
)
# After every step or two.
OFTEN = "--checkpoint_minutes=0.0005"
SECONDS = 300


class Program:
    """A process that writes its output to a file, and fails the test if it takes too long.

    Attributes:
        temporary: The folder of its temporary files.
    """

    def __init__(self, folder, *arguments, environment=()):
        self.temporary = folder / "temporary"
        self.temporary.mkdir(parents=True)
        self._console = folder / "console.txt"
        with self._console.open("w") as console:
            self._process = subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                stdout=console,
                stderr=console,
                cwd=ROOT,
                env={**os.environ, "TMPDIR": str(self.temporary), **dict(environment)},
            )

    def send(self, number):
        self._process.send_signal(number)

    def has_ended(self):
        return self._process.poll() is not None

    def let_run(self):
        """Waits for a moment, or until the process has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=0.02)

    def wait_until_it_says(self, text):
        while text not in self.console():
            assert not self.has_ended(), self.console()
            self.let_run()

    def end(self, exit_code):
        """Waits for the end, and returns the output."""
        try:
            found = self._process.wait(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            found = f"no end after {SECONDS} seconds"
        if found != exit_code:
            pytest.fail(f"{found} instead of {exit_code}:\n{self.console()[-5000:]}")
        return self.console()

    def console(self):
        return self._console.read_text(errors="replace")

    def kill(self):
        self._process.kill()
        self._process.wait()


@pytest.fixture
def start(tmp_path):
    """Starts a program, and kills it when the test has ended."""
    programs = []

    def start(*arguments, environment=()):
        folder = tmp_path / "programs" / str(len(programs))
        programs.append(Program(folder, *arguments, environment=environment))
        return programs[-1]

    yield start
    for program in programs:
        program.kill()


@pytest.fixture
def start_workers(start):
    """Starts the command line as two workers."""

    def start_workers(*arguments_of_workers):
        return [
            start(*MAIN, "--strategy=multi_worker", *arguments, environment=environment)
            for arguments, environment in zip(
                arguments_of_workers, worker_environments(2), strict=True
            )
        ]

    return start_workers


def wait_for_step(programs, workdir, step):
    """Waits for a checkpoint of this step or a later one."""
    while not any(program.has_ended() for program in programs):
        checkpoints = workdir.glob("checkpoints/ccp/step-*.npz")
        if any(int(path.name.split("-")[1]) >= step for path in checkpoints):
            return
        programs[0].let_run()
    pytest.fail(f"a process ended before step {step}:\n{programs[0].console()[-5000:]}")


def numbers_of(workdir):
    """The results without seconds and hardware, and the history."""
    results = json.loads((workdir / "results.json").read_text())
    for entry in results.values():
        if isinstance(entry, dict):
            entry.pop("seconds", None)
    for key in ("strategy", "replicas", "precision"):
        del results[key]
    with (workdir / "ccp" / "history.csv").open() as file:
        return results, list(csv.DictReader(file))


def hardware_of(workdir):
    results = json.loads((workdir / "results.json").read_text())
    return [results[key] for key in ("strategy", "replicas", "precision")]


def files_of(workdir):
    return {str(path.relative_to(workdir)).split(".tfevents")[0] for path in workdir.rglob("*")}


def last_line(console):
    return console.splitlines()[-1]


@pytest.fixture(scope="module")
def two_cpus(tmp_path_factory):
    """The folder of a run on two logical CPUs."""
    folder = tmp_path_factory.mktemp("two_cpus")
    workdir = folder / "run"
    flags = (*DIGITS, "--noreport", "--strategy=mirrored", f"--workdir={workdir}")
    program = Program(folder / "program", *TWO_CPUS, *flags)
    try:
        console = program.end(0)
    finally:
        program.kill()
    line = "backend tensorflow, strategy mirrored: 2 replicas on CPU:0, CPU:1; precision float32"
    assert console.count(line) == 1
    return workdir


def test_two_devices_give_the_numbers_of_one(two_cpus, run_command, tmp_path):
    workdir = tmp_path / "run"
    run_command(*DIGITS, "--noreport", f"--workdir={workdir}")
    (found, found_history), (expected, history) = map(numbers_of, (two_cpus, workdir))
    assert found["ccp"]["rounds"] == expected["ccp"]["rounds"] >= 1
    assert found["figure"] == expected["figure"]
    for key in ("map_at_r", "r_precision", "covering_radius", "validation_map_at_r"):
        for row in ("before", "ccp"):
            if key in expected[row]:
                # Adam amplifies rounding.
                assert found[row][key] == pytest.approx(expected[row][key], abs=5e-3), (row, key)
    assert [row["round"] for row in found_history] == [row["round"] for row in history]
    first, first_expected = (float(rows[0]["loss"]) for rows in (found_history, history))
    assert first == pytest.approx(first_expected, rel=1e-5)
    assert files_of(two_cpus) == files_of(workdir)
    assert hardware_of(two_cpus) == ["mirrored", 2, "float32"]
    assert hardware_of(workdir) == ["none", 1, "float32"]


def test_training_resumes_after_a_worker_is_killed(two_cpus, start_workers, start, tmp_path):
    workdir = tmp_path / "a run"
    flags = [*DIGITS, f"--workdir={workdir}", OFTEN]
    chief, other = start_workers(flags, flags)
    wait_for_step([chief, other], workdir, 12)
    other.send(signal.SIGKILL)
    other.end(-signal.SIGKILL)
    console = chief.end(1)
    assert "Traceback" not in console
    line = last_line(console)
    assert line.startswith("ccp_dml: another worker has ended or cannot be reached: ")
    _, _, command = line.partition("to resume from the last checkpoint, run ")
    assert command.endswith(" for every worker")
    arguments = shlex.split(command.removesuffix(" for every worker"))
    assert arguments[:3] == ["python", *MAIN]

    chief, other = start_workers(arguments[3:], arguments[3:])
    console, other_console = chief.end(0), other.end(0)
    assert "ccp resumes after step" in console
    assert "this is worker 0," in console
    assert "2 replicas on 2 workers, of which this is worker 1, on CPU:0" in other_console
    assert "MAP@R" not in other_console
    # The numbers of one process with two replicas, to the last bit: the kill changes nothing.
    assert numbers_of(workdir) == numbers_of(two_cpus)
    assert files_of(workdir) == files_of(two_cpus) | {"report.html", "gallery.png"}
    assert hardware_of(workdir) == ["multi_worker", 2, "float32"]
    assert not [path for path in other.temporary.rglob("*") if path.suffix != ".py"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signal_number", "receiver"), [("SIGTERM", 0), ("SIGTERM", 1), ("SIGKILL", 0)]
)
def test_all_workers_stop_when_one_is_stopped(
    signal_number, receiver, two_cpus, start_workers, tmp_path
):
    workdir = tmp_path / "run"
    flags = [*DIGITS, f"--workdir={workdir}", OFTEN]
    workers = start_workers(flags, flags)
    wait_for_step(workers, workdir, 12)
    number = getattr(signal, signal_number)
    workers[receiver].send(number)
    if number == signal.SIGTERM:
        for worker in workers:
            assert "interrupted by SIGTERM; progress is saved" in last_line(worker.end(143))
    else:
        assert "another worker has ended" in last_line(workers[1 - receiver].end(1))
    for worker in start_workers(flags, flags):
        assert "ccp resumes after step" in worker.end(0)
    assert numbers_of(workdir) == numbers_of(two_cpus)
    # All workers see that the run is finished.
    chief, other = start_workers(flags, flags)
    assert "is finished: there is nothing to train" in chief.end(0)
    other.end(0)
    assert numbers_of(workdir) == numbers_of(two_cpus)


@pytest.mark.slow
def test_a_worker_that_waits_for_the_others_can_be_stopped(start, tmp_path):
    flags = [*MAIN, *DIGITS, "--strategy=multi_worker", f"--workdir={tmp_path / 'run'}"]
    (environment, _) = worker_environments(2)
    worker = start(*flags, environment=environment)
    worker.wait_until_it_says("Waiting for all workers")
    # TensorFlow would handle SIGTERM itself, and keep waiting.
    worker.send(signal.SIGINT)
    worker.end(-signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--workdir={}/elsewhere", "it must be a folder that all workers share"),
        ("--seed=1", "this one has --seed=1 and the chief --seed=0"),
    ],
)
def test_workers_that_do_not_fit_each_other(change, message, start_workers, tmp_path):
    flags = [*DIGITS, f"--workdir={tmp_path / 'run'}"]
    chief, other = start_workers(flags, [*flags, change.format(tmp_path)])
    line = last_line(other.end(2))
    assert line.startswith("ccp_dml: ")
    assert message in line
    assert "another worker has ended" in last_line(chief.end(1))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--steps_per_execution=5"], "steps_per_execution must be 1 with several replicas"),
        (["--classes_per_batch=1", "--samples_per_class=1"], "cannot be divided among 2 replicas"),
        (["--jit_compile"], "jit_compile"),
    ],
)
def test_what_cannot_work_is_said_before_data_are_loaded(
    flags, message, two_replicas, run_command, monkeypatch, capsys, tmp_path
):
    # The strategy of the other tests in this process, which must not have two.
    monkeypatch.setattr(strategies, "_make_mirrored", lambda: two_replicas)
    workdir = tmp_path / "run"
    with pytest.raises(SystemExit) as stopped:
        run_command(*DIGITS, "--strategy=mirrored", f"--workdir={workdir}", *flags)
    assert stopped.value.code == 2
    line = last_line(capsys.readouterr().err)
    assert line.startswith("ccp_dml: ")
    assert message in line
    assert not workdir.exists()
