"""The command line, end to end on the digits."""

import csv
import errno
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ccp_dml.data import load
from ccp_dml.evaluation import retrieval_metrics
from ccp_dml.experiment import run_report
from ccp_dml.experiment.settings import Settings
from tests.data.pictures import encoded, patterns, write_classes
from tests.experiment.saved_runs import save_run
from tests.inference.embedders import small_embedder

ROOT = pathlib.Path(__file__).parents[1]
DIGITS = f"--flagfile={ROOT / 'experiments' / 'digits.flags'}"
# Enough for two rounds, because every second validation ends one, with little time spent.
SHORT = [
    "--max_steps=40",
    "--steps_per_validation=5",
    "--warmup_steps=10",
    "--round_patience=1",
    "--round_min_delta=0.5",
    "--learning_rate=1e-3",
]


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "ccp_dml.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "digits"
    process = run(DIGITS, f"--workdir={workdir}", *SHORT, "--figure_rounds=1")
    assert process.returncode == 0, process.stderr
    return workdir, process, json.loads((workdir / "results.json").read_text())


def test_prints_the_table_of_the_results(finished):
    _, process, results = finished
    lines = [line for line in process.stdout.splitlines() if line.startswith("|")]
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
    # Both are over the training steps.
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
    workdir, process, results = finished
    assert f"report    {workdir / 'report.html'}" in process.stdout
    first = (workdir / "report.html").read_bytes()
    assert f"{results['ccp']['map_at_r']:.4f}".encode() in first
    assert len(first) < 2e6
    # Beside it, and elsewhere.
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
    assert said.startswith(f"ccp_dml: the results are complete, but {path} is missing, which")
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


def test_help_lists_the_flags_and_examples():
    shown = run("--help").stdout
    for name in ("folds", "seeds", "processes", "checkpoint_minutes", "learning_rate"):
        assert f"\n  --{name}" in shown
    assert shown.index("\nData:\n") < shown.index("\n  --dataset (default: digits)\n")
    assert "\n  --[no]flip (default: true)\n" in shown
    assert "python -m ccp_dml.main --flagfile=experiments/letters.flags" in shown


def test_a_flagfile_that_is_not_there(command):
    assert "'missing.flags'" in command("--flagfile=missing.flags", "--workdir=/tmp/unused")


def test_a_flagfile_inside_a_flagfile_that_is_not_there(run_command, tmp_path, monkeypatch, capsys):
    (tmp_path / "flagfiles").mkdir()
    (tmp_path / "flagfiles" / "outer.flags").write_text("--flagfile=inner.flags\n")
    (tmp_path / "flagfiles" / "inner.flags").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run_command("--flagfile=flagfiles/outer.flags")
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "'inner.flags'" in line
    assert "relative to the current folder" in line


def test_the_plan_of_cells(tmp_path, run_command, capsys):
    flags = ("--mode=plan", "--cells=sop/c2,sop/c2_ccp", "--data_dir=/data", "--seeds=0,1")
    run_command(*flags, "--step_ms=50")
    shown = capsys.readouterr().out
    assert "Step times: for a plain step of 50 ms; 0.52 ms to embed an image." in shown
    assert "16 of 16" in shown
    run_command(*flags, f"--workdir={tmp_path}", "--patience=7")
    shown = capsys.readouterr()
    assert "as the authors report for an RTX 2080 Ti" in shown.err
    commands = shown.out.splitlines()
    assert len(commands) == 16
    folder = tmp_path / "sop" / "c2_ccp"
    assert commands[-1] == (
        f"python -m ccp_dml.main --flagfile={folder}/protocol.flags --folds=4 --seeds=1 "
        f"--workdir={folder}/fold4_seed1"
    )
    written = (folder / "protocol.flags").read_text().splitlines()
    assert {"--dataset=sop", "--data_dir=/data", "--patience=7", "--method=ccp"} <= set(written)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--cells=sop/c3"], "cells must be one of all, cub200_2011, cars196, inshop, sop, cub"),
        (["--cells=sop", "--loss=triplet"], "loss is set by the cells and cannot be given with"),
        (["--cells=sop", "--fold=2"], "the folds of --cells are given by --folds"),
        (["--cells=sop", "--folds=5"], "folds must be at most num_folds, 4; got 5"),
        (["--cells=sop", "--step_ms=9", "--measure_step"], "the time of a step, not both"),
        (
            ["--step_ms=9", "--workdir=/tmp/unused"],
            "--step_ms applies only to the hours of --cells",
        ),
    ],
)
def test_impossible_plans(flags, message, run_command, capsys):
    with pytest.raises(SystemExit) as stopped:
        run_command("--mode=plan", *flags)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.fixture
def command(capsys, run_command):
    """Runs the command in this process and returns its last line of errors, for exit code 2."""

    def run_here(*arguments):
        with pytest.raises(SystemExit) as stopped:
            run_command(DIGITS, *arguments)
        assert stopped.value.code == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    return run_here


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (
            "--dataset=mnist",
            "dataset must be one of digits, glyphs, cub200_2011, cars196, sop, inshop, folder; "
            "got 'mnist'",
        ),
        ("--method=plain,xbn", "method must be one of plain, ccp, xbm, dvml, ccp+xbm, ccp+dvml"),
        ("--method=", "method must name at least one of plain, ccp"),
        ("--method=plain+ccp", "ccp+xbm+dvml; got 'plain+ccp'"),
        (
            "--miner=easiest",
            "miner must be one of none, hard, semi_hard, easy, hardest_pairs, semi_hard_pairs",
        ),
        ("--miner_params=margin=1", "miner none has no parameter 'margin'; it takes none"),
        ("--miner=hard --miner_params=margin=1", "miner hard has no parameter 'margin'"),
        ("--loss_wrapper=softmax", "loss_wrapper must be one of none, multi_level_distance"),
        (
            "--loss_wrapper=proxy_synthesis --loss_wrapper_params=gamma=1",
            "loss_wrapper proxy_synthesis has no parameter 'gamma'; it takes alpha, ratio",
        ),
        (
            "--loss=soft_triple --loss_params= --loss_wrapper=virtual_softmax",
            "SoftTriple needs 10 per class",
        ),
        ("--loss=soft_triple --loss_params= --method=xbm", "compares samples with proxies only"),
        ("--first_phase_weights=1,1,1", "first_phase_weights must be 4 numbers; got 1.0,1.0,1.0"),
        ("--first_phase_weights=1,1,1,-1", "first_phase_weights must be at least 0; got -1.0"),
        ("--first_phase_weights=1,1,1,x", "could not convert string to float: 'x'"),
        (
            "--method=plain --learning_rate_multipliers=proxies=100",
            "the learning rate multiplier 'proxies' matches no weight",
        ),
        (
            "--learning_rate_multipliers=proxies=-1",
            "learning_rate_multipliers of proxies must be at least 0; got -1.0",
        ),
        (
            "--method=dvml --learning_rate_multipliers=spread_mean=2 --figure_rounds=1",
            "the learning rate multiplier 'spread_mean' matches no weight",
        ),
        ("--monitor=accuracy", "monitor must be one of map_at_r, r_precision, precision_at_1"),
        ("--plateau_factor=1", "plateau_factor must be below 1; got 1.0"),
        ("--method=ccp,ccp", "once; got ccp,ccp"),
        ("--loss=tripel", "contrastive, cosine_contrastive, triplet, multi_similarity"),
        ("--loss_params=margin=1", "it takes positive_margin, negative_margin"),
        ("--loss_params=name=1", "contrastive has no parameter 'name'"),
        ("--loss_params=positive_margin=nan", "positive_margin must be finite; got nan"),
        ("--loss_params=positive_margin", "not of the form name=number"),
        ("--dataset=sop", "data_dir is missing: name the folder of the data set sop"),
        ("--dataset=folder --data_dir=/nowhere", "data_dir /nowhere does not exist"),
        ("--dataset=folder --data_dir=. --resize_size=9", "at least image_size, 227; got 9"),
        (
            "--mode=show",
            "one of <train|tune|validate|describe|plan|table|report|evaluate|embed|search|",
        ),
        ("--dataset_params=letters=3", "digits has no parameter 'letters'; it takes none"),
        ("--dataset_params=letters", "not of the form name=number"),
        (
            "--weights=vgg",
            "weights must be none, imagenet, glyphs or the path of a .weights.h5 or .pth",
        ),
        ("--weights=imagenet", "for bn_inception and the networks of keras.applications; got"),
        (
            "--backbone=vgg16",
            "or of the form hub:preset or module:callable; got 'vgg16': did you mean",
        ),
        ("--backbone=my_networks:tiny", "importable: No module named 'my_networks'"),
        ("--backbone=resnet50", "ResNet50 cannot be made for images of shape (8, 8, 1)"),
        ("--backbone=resnet50 --weights=imagenet", "take images with 3 channels"),
        # Before data are looked for.
        (
            "--dataset=sop --data_dir=/nowhere --backbone=bn_inception --weights=imagenet",
            "put it at ",
        ),
        ("--scaling=rgb", "scaling must be one of auto, unit, symmetric, raw, torch, bgr; got"),
        ("--learning_rate=-1", "learning_rate must be above 0; got -1.0"),
        ("--learning_rate=fast", "could not convert string to float: 'fast'"),
        ("--learning_rate=nan", "learning_rate must be finite; got nan"),
        ("--seed=5000000000", "seed must be at most 4294967295"),
        ("--beta_2=1", "beta_2 must be below 1; got 1.0"),
        ("--workdir=s3://nowhere/x", "workdir s3://nowhere/x cannot be written to"),
        ("--seed=-1", "seed must be at least 0; got -1"),
        ("--classes_per_batch=6", "a batch of 6 classes cannot be drawn from 5 classes"),
        ("--validation_fraction=1", "validation_fraction must be below 1; got 1.0"),
        ("--proxies_per_class=1000000000000", "out of memory; use smaller batches or embeddings"),
        ("--samples_per_class=1000000000000", "must be at most 65536; got 1000000000000"),
        ("--pool_size=1000000000000", "pool_size must be at most 65536; got 1000000000000"),
        ("--random_erasing=0.5", "augmentation is for images in files; those of digits are in mem"),
        ("--validation=classes", "1 classes are too few to validate retrieval on"),
        ("--lerning_rate=1", "Did you mean: learning_rate"),
        ("word", "unexpected argument 'word'"),
        ("--workdir=", "--workdir is missing"),
        ("--mode=embed", "--output is missing: name a file for the embeddings"),
        ("--mode=embed --output=unused.parquet", "--networks is missing: name a trained network"),
        ("--mode=embed --output=x.parquet --networks=nowhere.keras", "the network nowhere.keras"),
        ("--mode=search", "--gallery is missing, such as --gallery=gallery.parquet"),
        ("--mode=search --gallery=a.parquet", "--query is missing, such as --query=image.jpg"),
        ("--mode=search --index=flat", "should be one of <exact|hnsw|ivf_pq>"),
        ("--mode=search --k=0", "integer"),
        ("--mode=inspect", "--networks is missing: name a trained network"),
        ("--mode=inspect --duplicate_distance=-1", "non-negative"),
    ],
)
def test_problems_a_user_can_cause(flag, message, command, tmp_path):
    assert message in command(f"--workdir={tmp_path / 'unused'}", *flag.split(" "))
    assert not (tmp_path / "unused").exists()


def test_a_workdir_that_cannot_be_written_to(command, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written to" in command(f"--workdir={tmp_path / 'file' / 'results'}")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--dataset_params=letters=3", "it takes train_letters, samples_per_letter"),
        ("--dataset_params=train_letters=nan", "train_letters must be finite; got nan"),
        ("--dataset_params=train_letters=1", "a whole number from 2 to 400; got 1.0"),
    ],
)
def test_parameters_of_the_data_set(flag, message, command, tmp_path):
    assert message in command("--dataset=glyphs", f"--workdir={tmp_path / 'unused'}", flag)
    assert not (tmp_path / "unused").exists()


def test_describe_shows_what_the_data_set_holds(tmp_path, run_command, capsys, caplog):
    sizes = {"ant": 3, "bee": 5, "cat": 2, "dog": 9, "elk": 4, "fox": 3}
    write_classes(tmp_path / "animals" / "train", sizes)
    write_classes(tmp_path / "animals" / "test", {"gnu": 7, "hen": 1})
    run_command(
        "--mode=describe",
        "--dataset=folder",
        f"--data_dir={tmp_path / 'animals'}",
        "--image_size=32",
        "--num_folds=3",
        f"--workdir={tmp_path / 'out'}",
    )
    printed = capsys.readouterr().out
    assert "--image_size=32" in printed
    assert "34 images" in printed
    rows = [line for line in printed.splitlines() if line.startswith("| t")]
    assert rows == [
        "| train | 26 | 6 | 2 images: class 2 (cat) | 9 images: class 3 (dog) |",
        "| test | 8 | 2 | 1 images: class 7 (hen) | 7 images: class 6 (gnu) |",
    ]
    folds = [line for line in printed.splitlines() if line.startswith("fold")]
    assert folds[0] == (
        "fold 1 of 3 (chosen): trains on 19 images of 4 classes, validates on 7 images of 2 "
        "classes, from class 4 (elk) to class 5 (fox)"
    )
    assert folds[2].endswith("from class 0 (ant) to class 1 (bee)")
    assert "1 of 8 classes have a single image" in caplog.text
    from matplotlib import image

    pixels = image.imread(tmp_path / "out" / "folder_samples.png")
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 500


def test_describe_stops_with_one_line(tmp_path, run_command, capsys):
    with pytest.raises(SystemExit) as stopped:
        run_command("--mode=describe", "--dataset=cars196", f"--data_dir={tmp_path}")
    assert stopped.value.code == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert "cars_train.tgz" in message
    assert f"--mode=describe --dataset=cars196 --data_dir={tmp_path}" in message


def test_training_that_fails_says_so(command, tmp_path):
    message = command(f"--workdir={tmp_path}", *SHORT, "--learning_rate=1e30")
    assert "training of plain stopped" in message
    assert "try a smaller learning rate" in message


@pytest.mark.parametrize("flag", ["workdir", "data_dir", "weights", "networks", "runs"])
def test_a_flagfile_can_hold_no_nul(flag, command, tmp_path):
    (tmp_path / "flags").write_text(f"--{flag}={tmp_path}/a\0b\n")
    message = command(f"--flagfile={tmp_path / 'flags'}")
    assert f"--{flag} cannot contain a NUL character; got '{tmp_path}/a\\x00b'" in message


def test_the_home_folder_may_be_abbreviated(tmp_path, run_command, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    save_run(tmp_path / "home" / "run", {"seed": 0, "plain": {"map_at_r": 0.5}}, ["plain"])
    run_command("--mode=table", "--runs=~/run", "--workdir=~/tables")
    assert (tmp_path / "home" / "tables" / "table.md").exists()
    assert not (tmp_path / "~").exists()


def test_folders_of_results_have_names_of_one_line(command, tmp_path):
    message = command(f"--workdir={tmp_path}/a\nb")
    assert "workdir must be a single line, because settings are saved in lines; got " in message
    assert f"'{tmp_path}/a\\nb'" in message
    assert not list(tmp_path.iterdir())


def test_a_flagfile_that_is_not_text(command, tmp_path):
    (tmp_path / "binary").write_bytes(bytes(range(128, 256)))
    assert "not a text file" in command(f"--flagfile={tmp_path / 'binary'}")


def test_embed_search_and_inspect(tmp_path, run_command, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_embedder(size=16, image_size=16).save("model.keras")
    for row, pixels in enumerate(patterns(num_classes=4, per_class=5)):
        path = tmp_path / "images" / "abcd"[row // 5] / f"{row}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(pixels))

    images = ["--networks=model.keras", "--data_dir=images"]
    run_command("--mode=embed", *images, "--output=made/gallery.parquet")
    assert capsys.readouterr().out == "20 embeddings of size 16 are in made/gallery.parquet\n"

    search = ["--mode=search", "--networks=model.keras", "--gallery=made/gallery.parquet", "--k=3"]
    run_command(*search, "--query=images/a/0.jpg", "--exclude_self")
    shown = capsys.readouterr().out
    assert f"{tmp_path}/images/a/0.jpg     1    0." in shown
    assert "the images are drawn in search.png" in shown
    assert (tmp_path / "search.png").stat().st_size > 5000

    run_command(*search, "--query=images", "--json", "--workdir=drawn")
    found = json.loads(capsys.readouterr().out)
    assert found["picture"] == f"{tmp_path}/drawn/search.png"
    assert len(found["queries"]) == 20
    first = found["queries"][0]
    assert first["path"] == first["neighbors"][0]["path"] == f"{tmp_path}/images/a/0.jpg"
    assert [neighbor["rank"] for neighbor in first["neighbors"]] == [1, 2, 3]

    run_command("--mode=inspect", *images, "--output=inspection", "--k=4")
    assert "the results are in inspection: embeddings.parquet" in capsys.readouterr().out
    assert (tmp_path / "inspection" / "duplicates.csv").exists()


def test_problems_of_search(tmp_path, run_command, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_embedder(size=16, image_size=16).save("model.keras")

    def stop(*arguments):
        with pytest.raises(SystemExit) as stopped:
            run_command("--networks=model.keras", *arguments)
        assert stopped.value.code == 2
        captured = capsys.readouterr()
        assert not captured.out
        return captured.err.strip().splitlines()[-1]

    embed = ["--mode=embed", "--output=a.parquet"]
    assert "data_dir is missing" in stop(*embed)
    assert "nowhere does not exist" in stop(*embed, "--data_dir=nowhere")
    (tmp_path / "images").mkdir()
    assert "contains no images" in stop(*embed, "--data_dir=images")
    (tmp_path / "images" / "a.jpg").write_text("text")
    assert "max_bad_images is 0" in stop(*embed, "--data_dir=images")
    assert "image_size is 9" in stop(*embed, "--data_dir=images", "--image_size=9")
    assert "scaling must be 'unit'" in stop(*embed, "--data_dir=images", "--scaling=torch")
    search = ["--mode=search", "--gallery=b.parquet"]
    assert "there is no file b.parquet" in stop(*search, "--query=images/a.jpg")
    assert not (tmp_path / "a.parquet").exists()
