"""Planning, describing, embedding, searching and inspecting from the command line."""

import json

import numpy as np
import pytest

from tests.data.pictures import encoded, patterns, write_classes
from tests.inference.embedders import small_embedder


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
