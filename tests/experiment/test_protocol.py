"""The runs of a protocol: which there are, how they are started, and which are missing."""

import json
import os
import pathlib
import shlex
import signal
import sys
import types

import pytest
from absl import flags

from ccp_dml.experiment import processes, protocol
from ccp_dml.experiment.flags import define_flags, flagfile, settings_from
from ccp_dml.experiment.interruption import PARENT_VARIABLE
from ccp_dml.experiment.protocol import (
    FLAGFILE,
    missing_runs,
    move_single_run,
    plan_runs,
    prepare_data,
    process_environments,
    shell_command,
    train_runs,
    write_flagfile,
)
from ccp_dml.experiment.settings import Settings

LETTERS = Settings(dataset="glyphs", num_folds=3, method=("plain", "ccp"))
DIGITS = Settings(validation="samples", method=("plain",))


def finish(run):
    """Writes what a finished run leaves."""
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "flags.txt").write_text(flagfile(run.settings, run.folder))
    measured = {"map_at_r": 0.5}
    results = {"before": measured, **dict.fromkeys(run.settings.method, measured)}
    (run.folder / "results.json").write_text(json.dumps(results))


def test_there_is_a_run_for_each_fold_and_seed(tmp_path):
    runs = plan_runs(LETTERS, [1, 3], [5, 0], tmp_path)
    assert [run.name for run in runs] == [
        "fold1_seed5",
        "fold1_seed0",
        "fold3_seed5",
        "fold3_seed0",
    ]
    assert [(run.settings.fold, run.settings.seed) for run in runs] == [
        (1, 5),
        (1, 0),
        (3, 5),
        (3, 0),
    ]
    assert {run.folder.parent for run in runs} == {tmp_path}
    for run in runs:
        assert flagfile(run.settings).replace(
            f"--fold={run.settings.fold}\n", "--fold=1\n"
        ).replace(f"--seed={run.settings.seed}\n", "--seed=0\n") == flagfile(LETTERS)


def test_runs_without_folds_are_named_by_their_seeds(tmp_path):
    assert [run.name for run in plan_runs(DIGITS, [1], [0, 1], tmp_path)] == ["seed0", "seed1"]
    assert [run.name for run in plan_runs(DIGITS, [1], [0], tmp_path)] == [""]
    (alone,) = plan_runs(DIGITS, [1], [0], tmp_path, may_use_workdir=False)
    assert alone.name == "seed0"


def test_a_local_folder_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run, _ = plan_runs(LETTERS, [1], [0, 1], "runs")
    assert run.folder == tmp_path / "runs" / "fold1_seed0"
    run, _ = plan_runs(LETTERS, [1], [0, 1], "gs://bucket/runs")
    assert os.fspath(run.folder) == "gs://bucket/runs/fold1_seed0"


@pytest.mark.parametrize(
    ("settings", "folds", "seeds", "message"),
    [
        (LETTERS, [1, 2, 1], [0], "folds must be given once each; got 1,2,1"),
        (LETTERS, [1], [3, 3], "seeds must be given once each; got 3,3"),
        (LETTERS, [1, 4], [0], "folds must be at most num_folds, 3; got 4"),
        (LETTERS, [0], [0], "fold must be at least 1; got 0"),
        (LETTERS, [1], [-1], "seed must be at least 0; got -1"),
        (DIGITS, [1, 2], [0], "for validation=classes; got folds 1,2 with validation=samples"),
        (DIGITS, [3], [0], "for validation=classes; got fold 3 with validation=samples"),
    ],
)
def test_impossible_runs(settings, folds, seeds, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        plan_runs(settings, folds, seeds, tmp_path)


def parse(arguments):
    """The settings of a command, and all of its flags."""
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    flag_values(["ccp_dml", *arguments])
    return settings_from(flag_values), flag_values


def test_a_command_stands_for_its_run(tmp_path):
    runs = plan_runs(LETTERS, [2, 1], [4, 7], tmp_path / "a folder")
    runs[0].workdir.mkdir()
    write_flagfile(runs)
    for run in runs:
        line = shlex.split(shell_command(run))
        assert line[:3] == ["python", "-m", "ccp_dml.main"]
        assert line[1:] == run.command()
        settings, flag_values = parse(line[3:])
        # Lists of one element.
        assert flag_values.folds == [str(run.settings.fold)]
        assert flag_values.seeds == [str(run.settings.seed)]
        assert flag_values.workdir == os.fspath(run.folder)
        (same,) = plan_runs(settings, [run.settings.fold], [run.settings.seed], run.folder)
        assert same.settings == run.settings


def test_the_flagfile_of_a_protocol_stands_for_all_its_runs(tmp_path):
    write_flagfile(plan_runs(LETTERS, [2, 1], [4, 7], tmp_path))
    settings, flag_values = parse([f"--flagfile={tmp_path / FLAGFILE}"])
    assert flag_values.folds == ["2", "1"]
    assert flag_values.seeds == ["4", "7"]
    assert flag_values.workdir == os.fspath(tmp_path)
    assert (settings.dataset, settings.method) == ("glyphs", ("plain", "ccp"))


def test_results_of_a_single_run_are_moved_out_of_the_way(tmp_path, capsys):
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / "flags.txt").write_text("")
    runs = plan_runs(LETTERS, [1, 2], [0], tmp_path)
    # Planning runs moves nothing.
    write_flagfile(runs)
    assert (tmp_path / "results.json").exists()
    move_single_run(runs)
    (earlier,) = (tmp_path / "earlier").iterdir()
    assert (earlier / "results.json").read_text() == "{}"
    assert not (tmp_path / "results.json").exists()
    assert str(earlier) in capsys.readouterr().out


def test_a_single_run_is_in_the_folder_itself(tmp_path):
    (run,) = plan_runs(LETTERS, [2], [7], tmp_path)
    assert run.folder == run.workdir
    finish(run)
    assert missing_runs([run]) == []
    (tmp_path / "results.json").unlink()
    assert missing_runs([run]) == [run]
    assert f"--workdir={tmp_path}" in shell_command(run)


def test_one_run_of_a_protocol_is_in_its_folder(tmp_path):
    for run in plan_runs(LETTERS, [2], [7, 8], tmp_path):
        finish(run)
    (run,) = plan_runs(LETTERS, [2], [7], tmp_path)
    assert run.folder == tmp_path / "fold2_seed7"
    assert missing_runs([run]) == []
    (new,) = plan_runs(LETTERS, [2], [9], tmp_path)
    assert missing_runs([new]) == [new]
    assert f"--workdir={tmp_path / 'fold2_seed9'}" in shell_command(new)


def test_missing_are_the_runs_without_all_their_results(tmp_path):
    runs = plan_runs(LETTERS, [1, 2], [0, 1, 2], tmp_path)
    assert missing_runs(runs) == runs
    for run in runs:
        finish(run)
    assert missing_runs(runs) == []
    first, second, third, fourth, *_ = runs
    (first.folder / "results.json").write_text('{"before": {}, "plain": {')
    (second.folder / "results.json").write_text('{"before": {}, "plain": {}}')
    (third.folder / "flags.txt").write_text(flagfile(LETTERS, third.folder))
    (fourth.folder / "results.json").unlink()
    assert missing_runs(runs) == runs[:4]


def test_the_figure_can_be_missing(tmp_path):
    (run,) = plan_runs(LETTERS, [1], [0], tmp_path)
    finish(run)
    (with_figure,) = plan_runs(
        Settings(**{**vars(LETTERS), "figure_rounds": 1}), [1], [0], tmp_path
    )
    finish(with_figure)
    assert missing_runs([with_figure]) == [with_figure]


class Machine:
    """Stands in for the devices of a machine."""

    def __init__(self, monkeypatch, gpus=0, processors=8, **variables):
        monkeypatch.setattr(protocol.distribution, "count_gpus", lambda: gpus)
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(processors)))
        for name in (*THREADS, "CUDA_VISIBLE_DEVICES", *SHARED_GPUS):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)


THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "PJRT_NPROC")

SHARED_GPUS = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


@pytest.mark.parametrize(
    ("processors", "processes", "threads"), [(8, 2, "4"), (8, 3, "2"), (2, 4, "1"), (8, 1, None)]
)
def test_processes_share_the_threads(processors, processes, threads, monkeypatch):
    Machine(monkeypatch, processors=processors)
    environments = process_environments(processes)
    assert len(environments) == processes
    for environment in environments:
        assert [environment.get(name) for name in THREADS] == [threads] * 4
        assert environment[PARENT_VARIABLE] == str(os.getpid())
        assert environment["PATH"] == os.environ["PATH"]
        assert "CUDA_VISIBLE_DEVICES" not in environment


def test_threads_that_the_user_has_chosen_are_left(monkeypatch):
    Machine(monkeypatch, OMP_NUM_THREADS="3")
    for environment in process_environments(2):
        assert [environment[name] for name in THREADS] == ["4", "4", "3", "4"]


@pytest.mark.parametrize(
    ("gpus", "visible", "processes", "expected", "is_shared"),
    [
        (2, None, 2, ["0", "1"], False),
        (2, None, 3, ["0", "1", "0"], True),
        (4, None, 2, ["0", "1"], False),
        (1, None, 2, ["0", "0"], True),
        (2, "5,GPU-8e2f", 2, ["5", "GPU-8e2f"], False),
        (0, None, 2, [None, None], True),
        # A single process may use all GPUs.
        (2, None, 1, [None], False),
    ],
)
def test_processes_share_the_gpus(gpus, visible, processes, expected, is_shared, monkeypatch):
    variables = {"CUDA_VISIBLE_DEVICES": visible} if visible else {}
    Machine(monkeypatch, gpus, **variables)
    environments = process_environments(processes)
    assert [each.get("CUDA_VISIBLE_DEVICES") for each in environments] == expected
    for environment in environments:
        for name, value in SHARED_GPUS.items():
            assert (environment.get(name) == value) == is_shared


@pytest.mark.parametrize(
    ("gpus", "processes", "expected"),
    [(4, 2, ["0,2", "1,3"]), (5, 2, ["0,2,4", "1,3"]), (2, 2, ["0", "1"]), (2, 3, ["0", "1", "0"])],
)
def test_mirrored_processes_take_all_gpus(gpus, processes, expected, monkeypatch):
    Machine(monkeypatch, gpus)
    environments = process_environments(processes, "mirrored")
    assert [each["CUDA_VISIBLE_DEVICES"] for each in environments] == expected


def test_data_that_cannot_be_split_stop_the_protocol(tmp_path):
    settings = Settings(
        dataset="glyphs",
        dataset_params={"train_letters": 4, "samples_per_letter": 2},
        num_folds=4,
    )
    with pytest.raises(ValueError, match="validation needs at least 2 classes; got 1"):
        prepare_data(plan_runs(settings, [1, 2], [0], tmp_path))


class Children:
    """Stands in for the processes of runs, each of which is polled `looks` times before it ends."""

    def __init__(self, monkeypatch, return_codes, looks=2):
        self.started, self.signals, self.running, self.most = [], [], 0, 0
        self.return_codes, self.looks = return_codes, looks
        self.without_report = ()
        monkeypatch.setattr(
            processes, "subprocess", types.SimpleNamespace(Popen=self.start, STDOUT=-2, DEVNULL=-3)
        )
        self.pause = lambda seconds: None
        clock = types.SimpleNamespace(sleep=lambda seconds: self.pause(seconds))
        monkeypatch.setattr(processes, "time", clock)

    def start(self, command, env, stdout, **options):
        assert command[0] == sys.executable
        _, flag_values = parse(command[3:])
        number = len(self.started)
        self.started.append((flag_values.workdir, env["slot"], flag_values.checkpoint_minutes))
        self.running += 1
        self.most = max(self.most, self.running)
        if stdout is not None:
            stdout.write(f"run {number}")
        looks = iter([None] * self.looks)

        def poll():
            code = next(looks, self.return_codes[number])
            process.returncode = code
            if code is not None:
                self.running -= 1
                if not code or number in self.without_report:
                    finish(
                        types.SimpleNamespace(
                            folder=pathlib.Path(flag_values.workdir),
                            settings=self.settings[flag_values.workdir],
                        )
                    )
            return code

        process = types.SimpleNamespace(
            poll=poll,
            returncode=None,
            send_signal=lambda signal: self.signals.append((number, signal)),
            wait=lambda: self.signals.append((number, "waited")),
        )
        return process


def planned(tmp_path, children, seeds=5):
    runs = plan_runs(LETTERS, [1], list(range(seeds)), tmp_path)
    write_flagfile(runs)
    children.settings = {os.fspath(run.folder): run.settings for run in runs}
    return runs


def test_runs_are_trained_side_by_side(tmp_path, monkeypatch, capsys):
    children = Children(monkeypatch, [0, 0, 3, 0, 0])
    runs = planned(tmp_path, children)
    failed = train_runs(runs, [{"slot": 0}, {"slot": 1}], ["--checkpoint_minutes=2"])
    assert failed == [runs[2]]
    assert children.most == 2
    assert [folder for folder, _, _ in children.started] == [os.fspath(run.folder) for run in runs]
    assert {minutes for _, _, minutes in children.started} == {2.0}
    assert {slot for _, slot, _ in children.started} == {0, 1}
    for number, run in enumerate(runs):
        assert (run.folder / "log.txt").read_text() == f"run {number}"
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{done} of 5" for done in range(1, 6)]
    assert lines[0].startswith("1 of 5: fold1_seed0 MAP@R plain 0.5000, ccp 0.5000; about ")
    assert f"FAILED with exit code 3, see {runs[2].folder / 'log.txt'}" in lines[2]
    assert children.signals == []


def test_a_single_process_writes_to_the_console(tmp_path, monkeypatch):
    children = Children(monkeypatch, [0, 0])
    runs = planned(tmp_path, children, seeds=2)
    assert train_runs(runs, [{"slot": 0}], []) == []
    assert children.most == 1
    assert not (runs[0].folder / "log.txt").exists()


def test_a_run_without_its_report_has_not_failed(tmp_path, monkeypatch, capsys):
    children = Children(monkeypatch, [0, 2])
    children.without_report = [1]
    runs = planned(tmp_path, children, seeds=2)
    assert train_runs(runs, [{"slot": 0}], []) == []
    first, second = capsys.readouterr().out.splitlines()
    assert "report" not in first
    assert second.endswith("ccp 0.5000, without a report (exit code 2)")


def test_an_interruption_is_passed_on(tmp_path, monkeypatch):
    children = Children(monkeypatch, [None] * 3, looks=0)
    runs = planned(tmp_path, children, seeds=3)

    def interrupt(seconds):
        raise KeyboardInterrupt

    children.pause = interrupt
    with pytest.raises(KeyboardInterrupt):
        train_runs(runs, [{"slot": 0}, {"slot": 1}], [])
    assert children.signals == [
        (0, signal.SIGTERM),
        (1, signal.SIGTERM),
        (0, "waited"),
        (1, "waited"),
    ]


def test_lists_that_are_not_numbers(run_command, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_command("--dataset=glyphs", "--folds=1,x", f"--workdir={tmp_path / 'unused'}")
    assert "folds must be whole numbers such as 1,2; got 1,x" in capsys.readouterr().err
    assert not (tmp_path / "unused").exists()


def test_the_plan_is_a_line_for_each_missing_run(run_command, tmp_path, capsys):
    arguments = ["--dataset=glyphs", "--num_folds=3", "--folds=1,2", "--seeds=0,1"]
    run_command("--mode=plan", *arguments, f"--workdir={tmp_path}")
    lines = capsys.readouterr().out.splitlines()
    runs = plan_runs(LETTERS, [1, 2], [0, 1], tmp_path)
    assert lines == [shell_command(run) for run in runs]
    finish(runs[1])
    run_command("--mode=plan", *arguments, f"--workdir={tmp_path}")
    assert capsys.readouterr().out.splitlines() == [lines[0], *lines[2:]]
