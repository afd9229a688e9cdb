"""What a run finds in its folder: finished, unfinished and other results."""

import dataclasses
import importlib.metadata
import itertools
import os
import shutil
import signal

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ccp_dml.callbacks import HistoryLog, RetrievalValidation, RoundSnapshots
from ccp_dml.experiment import Run, TrainingFailedError, train
from ccp_dml.experiment import run as run_module
from ccp_dml.experiment import training as training_module
from ccp_dml.experiment import workdir as workdir_module
from ccp_dml.experiment.flags import settings_from_flagfile
from ccp_dml.experiment.interruption import Interruption, RunInterruptedError
from ccp_dml.experiment.results import finished_results, load_unfinished_results
from ccp_dml.experiment.run_report import ReportFailedError
from ccp_dml.experiment.workdir import WorkdirInUseError, WorkdirLock, read_json, write_json
from tests.data.pictures import write_classes
from tests.experiment.small_run import history_of, make_run, without_seconds


class StopAt:
    """Stands in for a signal that arrives at a certain place in a run."""

    def __init__(self, monkeypatch):
        self.monkeypatch = monkeypatch

    def __call__(self, place, calls):
        """An interruption that receives SIGTERM when a function is called the nth time."""
        owner, name = place
        interruption = Interruption()
        whole, count = getattr(owner, name), itertools.count(1)

        def interrupted(*args, **kwargs):
            if next(count) == calls:
                interruption.signal_number = signal.SIGTERM
            return whole(*args, **kwargs)

        self.monkeypatch.setattr(owner, name, interrupted)
        return interruption


PLACES = {
    "baselines": ((run_module, "measure_baselines"), 1),
    "a step": ((HistoryLog, "on_train_batch_begin"), 8),
    "the last step of an epoch": ((HistoryLog, "on_train_batch_begin"), 5),
    "validation": ((RetrievalValidation, "measure"), 2),
    "the end of an epoch": ((HistoryLog, "on_epoch_end"), 3),
    "test samples": ((run_module, "embed_test"), 1),
    "the figure": ((RoundSnapshots, "on_train_batch_begin"), 7),
}
"""Where a run is interrupted, and in which of the calls."""

ROUNDS = {
    "method": ("plain", "ccp"),
    "max_steps": 20,
    "round_patience": 1,
    "plateau_patience": 1,
    "figure_rounds": 1,
}


def check_logs(folder, steps):
    """Checks that each validation and each gallery is logged once, at its step."""
    logs = folder / "tensorboard"
    for place, tag, expected in [
        (logs, "val_map_at_r", steps),
        (logs / "galleries", "retrieval/easy", steps[-1:]),
    ]:
        events = EventAccumulator(str(place), size_guidance={"tensors": 0})
        events.purge_orphaned_data = False
        assert [event.step for event in events.Reload().Tensors(tag)] == expected
    assert [int(row["step"]) for row in history_of(folder)] == steps


def test_a_run_that_is_interrupted_everywhere_ends_as_one_that_is_not(tmp_path):
    expected = make_run(**ROUNDS).train(tmp_path / "whole")
    assert expected["figure"]["rounds"] >= 1
    workdir = tmp_path / "interrupted"
    for place, calls in PLACES.values():
        with pytest.MonkeyPatch.context() as patches:
            interruption = StopAt(patches)(place, calls)
            with pytest.raises(RunInterruptedError, match="interrupted by SIGTERM"):
                # Checkpoints are hourly, so it resumes from the one that the signal caused.
                make_run(**ROUNDS).train(workdir, 60, interruption)
    results = make_run(**ROUNDS).train(workdir, 60)
    assert without_seconds(results) == without_seconds(expected)
    for method in ROUNDS["method"]:
        check_logs(workdir / method, [5, 10, 15, 20])
        ours, theirs = (folder / method / "history.csv" for folder in (workdir, tmp_path / "whole"))
        assert ours.read_bytes() == theirs.read_bytes()
        networks = [
            keras.models.load_model(folder / method / "model.keras")
            for folder in (workdir, tmp_path / "whole")
        ]
        for one, other in zip(*(each.get_weights() for each in networks), strict=True):
            np.testing.assert_array_equal(one, other)
    assert not (workdir / "checkpoints").exists()


def make_fail_in(failing):
    train_method = Run._train_method

    def fail(run, method, *arguments):
        if method == failing:
            raise TrainingFailedError(f"of {method}")
        return train_method(run, method, *arguments)

    return fail


def test_methods_that_are_finished_are_not_trained_again(tmp_path, monkeypatch):
    settings = {"method": ("plain", "ccp"), "max_steps": 10}
    train_method = Run._train_method
    monkeypatch.setattr(Run, "_train_method", make_fail_in("ccp"))
    with pytest.raises(TrainingFailedError):
        make_run(**settings).train(tmp_path)
    first = read_json(tmp_path / "results.json")
    assert "plain" in first
    assert "ccp" not in first
    network = (tmp_path / "model.keras").read_bytes()
    assert network == (tmp_path / "plain" / "model.keras").read_bytes()

    trained = []

    def note(run, method, *arguments):
        trained.append(method)
        return train_method(run, method, *arguments)

    monkeypatch.setattr(Run, "_train_method", note)
    results = make_run(**settings).train(tmp_path)
    assert trained == ["ccp"]
    assert results["plain"] == first["plain"]
    assert read_json(tmp_path / "results.json") == results


@pytest.fixture
def small_settings():
    return make_run(max_steps=5).settings


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a finished run with these settings, and its results."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, train(make_run(max_steps=5).settings, folder, report=False)


@pytest.fixture
def finished(trained, tmp_path):
    """The results of that run, whose folder is copied to `tmp_path`."""
    folder, results = trained
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return results


def test_the_same_command_again_trains_nothing(tmp_path, capsys, monkeypatch, small_settings):
    results = train(small_settings, tmp_path)
    first = capsys.readouterr().out
    assert f"report    {tmp_path / 'report.html'}" in first
    assert f"gallery   {tmp_path / 'gallery.png'}" in first
    assert f"results   {tmp_path / 'results.json'}" in first
    assert f"network   {tmp_path / 'model.keras'} (plain, which validated best)" in first
    monkeypatch.setattr(training_module, "Run", None)
    monkeypatch.setattr(training_module, "write_report", None)
    again = train(small_settings, tmp_path)
    assert again == results
    output = capsys.readouterr().out
    assert output == f"the run in {tmp_path} is finished: there is nothing to train\n{first}"
    # Caching the images does not change the numbers.
    assert train(dataclasses.replace(small_settings, cache="memory"), tmp_path) == results
    assert not (tmp_path / "earlier").exists()


def test_a_finished_run_gets_the_report_that_it_lacks(tmp_path, capsys, small_settings, finished):
    capsys.readouterr()
    assert train(small_settings, tmp_path, report=False) == finished
    assert not (tmp_path / "report.html").exists()
    assert "report" not in capsys.readouterr().out

    def stop(tables, output, benchmark):
        raise error

    for error in (RunInterruptedError(signal.SIGTERM), ReportFailedError("no room")):
        with pytest.MonkeyPatch.context() as patches:
            patches.setattr(training_module, "write_report", stop)
            with pytest.raises(type(error)):
                train(small_settings, tmp_path)
        assert finished_results(tmp_path, small_settings) == finished
        # The results are printed before the report is begun.
        assert "MAP@R" in capsys.readouterr().out
    assert train(small_settings, tmp_path) == finished
    page = (tmp_path / "report.html").read_text()
    assert f"{finished['plain']['map_at_r']:.4f}" in page
    assert (tmp_path / "gallery.png").read_bytes().startswith(b"\x89PNG")
    # Its images are from the data set, which was loaded again.
    assert page.count("<img") > 100


def test_results_with_other_settings_are_moved(tmp_path, capsys, small_settings, finished):
    for name in ("report.html", "gallery.png"):
        (tmp_path / name).write_text("of the first")
    capsys.readouterr()
    other = dataclasses.replace(small_settings, learning_rate=1e-3)
    results = train(other, tmp_path, report=False)
    (earlier,) = (tmp_path / "earlier").iterdir()
    output = capsys.readouterr().out
    assert (
        f"{tmp_path} contained results with other settings, which were moved to {earlier}" in output
    )
    assert read_json(earlier / "results.json") == finished
    assert settings_from_flagfile(earlier / "flags.txt") == small_settings
    names = {path.name for path in earlier.iterdir()}
    assert {"model.keras", "plain", "before", "report.html", "gallery.png"} <= names
    assert not (tmp_path / "report.html").exists()
    assert not (tmp_path / "gallery.png").exists()
    assert results["plain"]["map_at_r"] != finished["plain"]["map_at_r"]
    assert finished_results(tmp_path, other) == read_json(tmp_path / "results.json")
    assert finished_results(tmp_path, small_settings) is None


def test_results_of_the_other_backend_are_moved(
    tmp_path, capsys, monkeypatch, small_settings, finished
):
    assert finished["backend"] == keras.backend.backend() == "tensorflow"
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert finished_results(tmp_path, small_settings) is None
    unfinished = load_unfinished_results(tmp_path, small_settings, "data")
    (earlier,) = (tmp_path / "earlier").iterdir()
    assert (
        f"{tmp_path} contained results of the Keras backend tensorflow (this is jax), which were "
        f"moved to {earlier}"
    ) in capsys.readouterr().out
    assert read_json(earlier / "results.json") == finished
    assert "plain" not in unfinished
    assert unfinished["versions"]["jax"] == importlib.metadata.version("jax")


def test_results_from_before_there_were_backends_are_tensorflows(
    tmp_path, small_settings, finished
):
    results = read_json(tmp_path / "results.json")
    del results["backend"]
    write_json(tmp_path / "results.json", results)
    assert finished_results(tmp_path, small_settings) == results != finished


def test_unfinished_results_of_other_data_are_moved(tmp_path, capsys, monkeypatch):
    workdir, pictures = tmp_path / "run", tmp_path / "pictures"
    write_classes(pictures, {f"class{number}": 4 for number in range(10)})

    def run():
        return make_run(
            dataset="folder",
            data_dir=os.fspath(pictures),
            image_size=8,
            validation="samples",
            validation_fraction=0.5,
            classes_per_batch=2,
            samples_per_class=2,
            method=("plain", "ccp"),
            max_steps=5,
        )

    monkeypatch.setattr(Run, "_train_method", make_fail_in("ccp"))
    with pytest.raises(TrainingFailedError):
        run().train(workdir)
    first = read_json(workdir / "results.json")
    assert "plain" in first
    assert load_unfinished_results(workdir, run().settings, first["data"]) == first

    (pictures / "class9" / "3.jpg").rename(pictures / "class9" / "other.jpg")
    capsys.readouterr()
    # The old results are moved before anything is trained.
    monkeypatch.setattr(Run, "_train_method", make_fail_in("plain"))
    with pytest.raises(TrainingFailedError):
        run().train(workdir)
    (earlier,) = (workdir / "earlier").iterdir()
    assert f"{workdir} contained results of other data" in capsys.readouterr().out
    assert read_json(earlier / "results.json") == first
    assert read_json(workdir / "results.json")["data"] != first["data"]


def test_results_from_before_data_were_recorded_are_continued(tmp_path, small_settings):
    results = load_unfinished_results(tmp_path, small_settings, "data")
    del results["data"]
    write_json(tmp_path / "results.json", results)
    assert load_unfinished_results(tmp_path, small_settings, "data") == results


def test_checkpoints_of_other_settings_are_moved(tmp_path, small_settings):
    with pytest.MonkeyPatch.context() as patches:
        interruption = StopAt(patches)(*PLACES["a step"][:1], 3)
        with pytest.raises(RunInterruptedError):
            Run(small_settings).train(tmp_path, 60, interruption)
    assert (tmp_path / "checkpoints" / "plain").exists()
    other = dataclasses.replace(small_settings, seed=1)
    results = Run(other).train(tmp_path)
    (earlier,) = (tmp_path / "earlier").iterdir()
    assert (earlier / "checkpoints" / "plain").exists()
    assert without_seconds(results) == without_seconds(Run(other).train(tmp_path / "new"))


def test_a_folder_that_is_in_use(tmp_path, monkeypatch, small_settings):
    monkeypatch.setattr(workdir_module, "_SECONDS_TO_WAIT", 0.01)
    with WorkdirLock(tmp_path), pytest.raises(WorkdirInUseError, match="working in"):
        train(small_settings, tmp_path)
