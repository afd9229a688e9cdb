"""A run on the digits from the command line: what it prints, leaves and reports."""

import contextlib
import csv
import errno
import io
import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ccp_dml.data import load
from ccp_dml.evaluation import retrieval_metrics
from ccp_dml.experiment import run_report
from ccp_dml.experiment.settings import Settings
from tests.main_command import DIGITS

# Long enough for two rounds, because every second validation ends one, and yet quick.
SHORT = [
    "--max_steps=40",
    "--steps_per_validation=5",
    "--warmup_steps=10",
    "--round_patience=1",
    "--round_min_delta=0.5",
    "--learning_rate=1e-3",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, run_command):
    """The working directory of a run, what it printed, and its results."""
    workdir = tmp_path_factory.mktemp("runs") / "digits"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        run_command(DIGITS, f"--workdir={workdir}", *SHORT, "--figure_rounds=1")
    return workdir, printed.getvalue(), json.loads((workdir / "results.json").read_text())


def test_prints_the_table_of_the_results(finished):
    _, printed, results = finished
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    header = [cell.strip() for cell in lines[0].split("|")[1:-1]]
    assert header[:5] == ["on unseen classes", "P@1", "R-precision", "MAP@R", "covering radius"]
    names = ["raw_pixels", "pooled_features", "before", "plain", "ccp"]
    for line, name in zip(lines[2:], names, strict=True):
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        assert cells[0] == name
        keys = ("precision_at_1", "r_precision", "map_at_r", "covering_radius")
        assert [float(cell) for cell in cells[1:5]] == [
            round(results[name][key], 4) for key in keys
        ]


def test_results_hold_what_was_promised(finished):
    _, _, results = finished
    assert results["seed"] == 0
    assert {"tensorflow", "keras", "numpy", "ccp_dml"} <= set(results["versions"])
    for name in ("before", "plain", "ccp"):
        for key in ("precision_at_1", "r_precision", "map_at_r", "covering_radius"):
            assert 0 < results[name][key] < 1
        assert results[name]["seconds"] >= 0
    assert results["before"]["steps"] == 0
    assert results["plain"]["steps"] == results["ccp"]["steps"] == 40
    assert results["plain"]["rounds"] == 0
    assert results["ccp"]["rounds"] >= 1
    assert results["plain"]["map_at_r"] != results["ccp"]["map_at_r"]


def test_the_saved_networks_give_the_results(finished):
    workdir, _, results = finished
    test = load("digits").test
    measured = {}
    pixels = np.round(255 * test.images).astype("uint8")
    for folder in ("plain", "ccp", "."):
        embedder = keras.models.load_model(workdir / folder / "model.keras")
        embeddings = embedder.network.predict(test.images, verbose=0)
        expected = embedder.network.predict(pixels.astype("float32") / 255, verbose=0)
        np.testing.assert_allclose(embedder.embed(pixels), expected, atol=1e-6)
        measured[folder] = retrieval_metrics(embeddings, test.labels)["map_at_r"]
    for method in ("plain", "ccp"):
        assert measured[method] == pytest.approx(results[method]["map_at_r"], abs=1e-6)
    best = max(("plain", "ccp"), key=lambda method: results[method]["validation_map_at_r"])
    assert measured["."] == measured[best]


def test_history_and_logs(finished):
    workdir, _, results = finished
    for method in ("plain", "ccp"):
        with (workdir / method / "history.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 8
        assert {"loss", "val_map_at_r", "val_precision_at_1"} <= set(rows[0])
        best = max(float(row["val_map_at_r"]) for row in rows)
        assert best == pytest.approx(results[method]["validation_map_at_r"])
    rounds = [int(row["round"]) for row in rows]
    assert rounds[:3] == [-1, -1, 0]
    assert rounds == sorted(rounds)
    weights = {row["round"]: float(row["proximal_weight"]) for row in rows}
    assert weights["0"] == 0
    assert weights["1"] == pytest.approx(2e-4)

    (events,) = (workdir / "ccp" / "tensorboard").glob("events*")
    log = EventAccumulator(str(events), size_guidance={"tensors": 0}).Reload()
    assert {
        "loss",
        "proxy_loss",
        "batch_loss",
        "val_map_at_r",
        "round",
        "proximal_weight",
        "covering_radius",
        "distances/positive_pairs",
        "distances/negative_pairs",
    } <= set(log.Tags()["tensors"])
    events = log.Tensors("round")
    assert [float(tf.make_ndarray(event.tensor_proto)) for event in events] == rounds
    # Both are indexed by training steps.
    assert [event.step for event in events] == [int(row["step"]) for row in rows]
    assert events[-1].step == results["ccp"]["steps"]
    galleries = EventAccumulator(str(workdir / "ccp" / "tensorboard" / "galleries")).Reload()
    assert "retrieval/failed" in galleries.Tags()["tensors"]
    assert (workdir / "ccp" / "tensorboard" / "projector_config.pbtxt").exists()


def test_the_figure_is_a_picture(finished):
    workdir, _, _ = finished
    from matplotlib import image

    pixels = image.imread(workdir / "rounds.png")
    assert pixels.shape[1] > 1.5 * pixels.shape[0] * 0.9
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 50


def test_the_report_is_made_again_with_the_same_bytes(finished, tmp_path, run_command, capsys):
    workdir, printed, results = finished
    assert f"report    {workdir / 'report.html'}" in printed
    first = (workdir / "report.html").read_bytes()
    assert f"{results['ccp']['map_at_r']:.4f}".encode() in first
    assert len(first) < 2e6
    # The first report is beside the runs, this one elsewhere.
    run_command("--mode=report", f"--runs={workdir}", f"--workdir={tmp_path}")
    assert capsys.readouterr().out == f"the report is {tmp_path / 'report.html'}\n"
    assert (tmp_path / "report.html").read_bytes() == first


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--runs="], "--runs is missing"),
        (["--runs={folder},{folder}/plain"], "--workdir is missing: name a folder"),
        (["--runs={folder}/plain"], "contains no finished run"),
        (["--runs={folder}/nothing", "--workdir={folder}"], "does not exist"),
        (["--runs={folder}", "--baseline=x:y"], "baseline must be one of"),
    ],
)
def test_impossible_reports(flags, message, finished, command):
    flags = [flag.format(folder=finished[0]) for flag in flags]
    assert message in command("--mode=report", *flags)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
            "No space left on device; finished work is kept: free some space and run the same "
            "command again",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "Permission denied: '/x'"),
        (tf.errors.UnavailableError(None, None, "gs://x is away"), "gs://x is away"),
    ],
)
def test_a_report_that_cannot_be_written(error, message, finished, command, monkeypatch):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(run_report, "_make_sections", fail)
    said = command("--mode=report", f"--runs={finished[0]}")
    path = finished[0] / "report.html"
    assert said.startswith(f"ccp_dml: the results are complete, but {path} could not be written")
    assert said.endswith(message)


def test_flags_can_be_passed_back_and_give_the_same_numbers(finished, tmp_path, run_command):
    workdir, _, results = finished
    run_command(
        f"--flagfile={workdir / 'flags.txt'}",
        f"--workdir={tmp_path}",
        "--figure_rounds=0",
        "--noreport",
    )
    again = json.loads((tmp_path / "results.json").read_text())
    for name in ("before", "plain", "ccp"):
        for values in (again, results):
            values[name].pop("seconds", None)
        assert again[name] == results[name]
    written = (workdir / "flags.txt").read_text().splitlines()
    assert f"--workdir={workdir}" in written
    assert len(written) == 1 + len(Settings.__dataclass_fields__)


def test_an_earlier_run_is_kept(tmp_path, run_command):
    (tmp_path / "results.json").write_text("{}")
    flags = [*SHORT, "--max_steps=5", "--method=plain", "--noreport"]
    run_command(DIGITS, f"--workdir={tmp_path}", *flags)
    (earlier,) = (tmp_path / "earlier").iterdir()
    assert (earlier / "results.json").read_text() == "{}"
    assert "plain" in json.loads((tmp_path / "results.json").read_text())


def test_training_that_fails_says_so(command, tmp_path):
    message = command(f"--workdir={tmp_path}", *SHORT, "--learning_rate=1e30")
    assert "training of plain stopped" in message
    assert "try a smaller learning rate" in message
