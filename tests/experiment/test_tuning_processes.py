"""A search in processes, which may be killed, and its best settings in the mode train."""

import json
import pathlib
import signal
import subprocess
import sys

import pandas as pd
import psutil
import pytest

from ccp_dml.experiment import Run, run
from ccp_dml.experiment.flags import settings_from_flagfile

ROOT = pathlib.Path(__file__).parents[2]
LETTERS = (
    "--mode=tune",
    "--dataset=glyphs",
    # Tested on other letters of the training set, which are fewer than the test letters.
    "--dataset_params=train_letters=12,samples_per_letter=4,tuning_letters=20",
    "--num_folds=2",
    "--method=ccp",
    "--embedding_size=4",
    "--max_steps=30",
    "--steps_per_validation=5",
    "--classes_per_batch=4",
    "--samples_per_class=2",
    "--proxies_per_class=2",
    "--pool_size=3",
    "--round_patience=1",
    "--checkpoint_minutes=0.001",
    "--tune_space=learning_rate=log:1e-4:1e-2,loss_params.negative_margin=uniform:0.2:0.8",
    "--tune_sampler=random",
    "--tune_trials=2",
    "--processes=2",
)


def start(folder):
    return subprocess.Popen(
        [sys.executable, "-m", "ccp_dml.main", *LETTERS, f"--workdir={folder}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def checkpoints(folder):
    return list(folder.glob("trials/*/checkpoints/*/step-*.npz"))


def wait_for_checkpoints(process, folder, count):
    while len(checkpoints(folder)) < count:
        assert process.poll() is None, process.communicate()
        try:
            process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue


def kill_search(folder):
    """Kills a search once two trials are training, and returns how many it interrupted."""
    killed = start(folder)
    wait_for_checkpoints(killed, folder, 2)
    children = psutil.Process(killed.pid).children()
    killed.kill()
    killed.communicate()
    assert len(children) == 2
    _, alive = psutil.wait_procs(children, timeout=60)
    # Without a parent that waits for them, ended processes remain as zombies.
    assert all(child.status() == psutil.STATUS_ZOMBIE for child in alive)
    return len({path.relative_to(folder).parts[1] for path in checkpoints(folder)})


# The killed search is slow: `test_protocol_processes.py` also tests that processes end with the one
# that started them, and resume.
@pytest.fixture(scope="module", params=["whole", pytest.param("killed", marks=pytest.mark.slow)])
def searched(request, tmp_path_factory):
    """The folder of a search, its last output, and how many trials were interrupted."""
    folder = tmp_path_factory.mktemp("searches") / "search"
    interrupted = 0
    if request.param == "killed":
        interrupted = kill_search(folder)
        assert interrupted > 0
    process = start(folder)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    return folder, output, interrupted


def test_a_search_ends_with_all_trials(searched):
    folder, output, interrupted = searched
    assert "2 of 2: trial " in output
    frame = pd.read_csv(folder / "trials.csv")
    assert list(frame["state"]) == ["finished"] * 2
    assert frame["learning_rate"].nunique() == 2
    logs = [path.read_text() for path in folder.glob("trials/*/log.txt")]
    assert sum("resumes after step" in log for log in logs) == interrupted
    assert not list(folder.rglob("checkpoints"))


def test_the_test_classes_are_not_measured(searched, monkeypatch, tmp_path):
    folder, *_ = searched
    names = {path.name for path in folder.glob("trials/**/*")}
    assert not {"results.json", "test_embeddings.npz", "before", "model.keras"} & names
    settings = settings_from_flagfile(folder / "trials" / "0000" / "flags.txt")

    def refuse(*arguments, **options):
        raise AssertionError("the test classes are measured")

    for name in ("embed_test", "measure_baselines", "measure"):
        monkeypatch.setattr(run, name, refuse)
    Run(settings).validate(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"flags.txt", "validation.json", "ccp"}
    assert [path.name for path in (tmp_path / "ccp").iterdir()] == ["history.csv"]


def test_the_best_settings_validate_alike_in_the_mode_train(searched, run_command, tmp_path):
    folder, *_ = searched
    run_command(f"--flagfile={folder / 'best.flags'}", f"--workdir={tmp_path}", "--noreport")
    results = json.loads((tmp_path / "results.json").read_text())
    best = pd.read_csv(folder / "trials.csv")["validation_map_at_r"].max()
    assert results["ccp"]["validation_map_at_r"] == best


@pytest.mark.slow
def test_ctrl_c_saves_what_was_done(tmp_path):
    process = start(tmp_path)
    wait_for_checkpoints(process, tmp_path, 1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors.splitlines()[-1] == (
        "ccp_dml: interrupted by SIGINT; progress is saved: to resume, run the same command again"
    )
    assert (tmp_path / "tune.db").exists()


def test_a_finished_run_is_not_made_again(searched, run_command, capsys):
    folder, *_ = searched
    trial = folder / "trials" / "0001"
    before = (trial / "validation.json").stat().st_mtime_ns
    run_command("--mode=validate", f"--flagfile={trial / 'flags.txt'}")
    assert (trial / "validation.json").stat().st_mtime_ns == before
    expected = json.loads((trial / "validation.json").read_text())["ccp"]["validation_map_at_r"]
    assert f"ccp: validation map_at_r {expected:.4f}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run_command("--mode=validate", f"--flagfile={trial / 'flags.txt'}", "--seeds=0,1")
    assert "trains a single run" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_command("--mode=validate", f"--flagfile={trial / 'flags.txt'}", "--validation=test")
    assert "must not be used to choose settings" in capsys.readouterr().err
