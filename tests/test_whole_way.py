"""From a folder of pictures to a network, a report, image search and an exported model."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tests.data.shapes import draw_shape, recode, write_shape

CLASSES, IMAGES_PER_CLASS = 30, 10


def write_pictures(folder):
    return {
        kind: [
            write_shape(
                draw_shape(kind, CLASSES, seed=number),
                folder / f"kind {kind:02}" / f"{number}",
                disguise=number + kind,
            )
            for number in range(IMAGES_PER_CLASS)
        ]
        for kind in range(CLASSES)
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory, run_command):
    """The folder of the pictures, their paths by class, and the folder of the run."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = write_pictures(folder)
    (folder / "kind 00" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    workdir = tmp_path_factory.mktemp("runs") / "shapes"
    arguments = [
        "--dataset=folder",
        f"--data_dir={folder}",
        f"--workdir={workdir}",
        "--image_size=32",
        "--validation=samples",
        "--noflip",
        "--crop_area=0.6,1",
        "--method=ccp",
        "--embedding_size=16",
        "--learning_rate=2e-3",
        "--warmup_steps=50",
        "--max_steps=400",
        "--steps_per_validation=50",
        "--classes_per_batch=8",
        "--samples_per_class=3",
        "--proxies_per_class=2",
        "--pool_size=3",
    ]
    run_command(*arguments)
    return folder, paths, workdir


def test_training_beats_the_network_before_it(trained):
    results = json.loads((trained[2] / "results.json").read_text())
    assert results["ccp"]["map_at_r"] > results["before"]["map_at_r"]
    assert results["ccp"]["precision_at_1"] > 0.8


def test_the_report_shows_the_pictures(trained):
    page = (trained[2] / "report.html").read_text()
    assert "kind 0" in page
    assert "data:image/" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_the_network_finds_pictures_of_a_class_in_any_format(
    trained, tmp_path, run_command, capsys
):
    folder, paths, workdir = trained
    gallery = tmp_path / "gallery.parquet"
    networks = f"--networks={workdir / 'ccp' / 'model.keras'}"
    run_command("--mode=embed", networks, f"--data_dir={folder}", f"--output={gallery}")
    assert len(pd.read_parquet(gallery)) == CLASSES * IMAGES_PER_CLASS
    queries = tmp_path / "queries"
    queries.mkdir()
    for number, kind in enumerate(range(0, CLASSES, 3)):
        shutil.copy(paths[kind][number % 8], queries / f"{kind:02}{paths[kind][number % 8].suffix}")
    capsys.readouterr()
    run_command(
        "--mode=search",
        networks,
        f"--gallery={gallery}",
        f"--query={queries}",
        "--k=5",
        "--json",
        f"--workdir={tmp_path}",
    )
    found = json.loads(capsys.readouterr().out)["queries"]
    assert len(found) == 10
    right = []
    for query in found:
        kind = pathlib.Path(query["path"]).stem
        labels = [neighbor["label"] for neighbor in query["neighbors"]]
        # The nearest picture is the query itself, under another name.
        assert query["neighbors"][0]["distance"] < 1e-3
        assert labels[0] == f"kind {kind}"
        right += [label == f"kind {kind}" for label in labels]
    assert np.mean(right) > 0.7


# tests/inference/test_export.py also runs the example of each format.
@pytest.mark.parametrize(
    "format",
    [
        "onnx",
        pytest.param("saved_model", marks=pytest.mark.slow),
        pytest.param("tflite", marks=pytest.mark.slow),
    ],
)
def test_the_exported_network_needs_no_package(trained, format, tmp_path, run_command, capsys):
    folder, paths, workdir = trained
    network = workdir / "ccp" / "model.keras"
    run_command(
        "--mode=export",
        f"--networks={network}",
        f"--format={format}",
        f"--output={tmp_path}",
        f"--data_dir={folder}",
    )
    assert "largest difference" in capsys.readouterr().out
    kinds = [paths[3][0], paths[3][1], paths[3][2], paths[10][0]]
    code = "import sys; sys.modules['ccp_dml'] = sys.modules['keras'] = None; import runpy; "
    code += f"runpy.run_path({str(tmp_path / f'{format}_example.py')!r}, run_name='__main__')"
    printed = subprocess.run(
        [sys.executable, "-c", code, *map(str, kinds)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert printed.returncode == 0, printed.stderr
    distances = [float(line.split()[0]) for line in printed.stdout.splitlines()]
    assert len(distances) == 3
    assert max(distances[:2]) < distances[2]


def test_planted_duplicates_and_wrong_labels_are_found(trained, tmp_path, run_command):
    folder, paths, workdir = trained
    data = tmp_path / "data"
    class_folders = {}
    for kind in range(CLASSES):
        split = "train" if kind < CLASSES // 2 else "test"
        class_folders[kind] = data / split / f"kind {kind:02}"
        shutil.copytree(folder / f"kind {kind:02}", class_folders[kind])
    wrong = set()
    for kind in range(0, 25, 5):
        moved = class_folders[kind] / paths[kind][3].name
        wrong.add(str(moved.rename(class_folders[kind + 4] / f"moved {moved.name}")))
    # Test images with copies among the training images, under another class.
    copies = set()
    for kind in range(16, 26, 2):
        original = class_folders[kind] / paths[kind][5].name
        copy = class_folders[kind - 15] / f"copy of {original.stem}.jpg"
        copy.write_bytes(recode(original))
        copies.add(frozenset((str(original), str(copy))))
    output = tmp_path / "inspection"
    run_command(
        "--mode=inspect",
        f"--networks={workdir / 'ccp' / 'model.keras'}",
        f"--data_dir={data}",
        f"--output={output}",
        "--k=5",
        "--duplicate_distance=0.1",
    )
    suspicious = pd.read_csv(output / "suspicious_labels.csv")
    assert wrong <= set(suspicious["path"].head(2 * (len(wrong) + len(copies))))
    duplicates = pd.read_csv(output / "duplicates.csv")
    across = duplicates[duplicates["across_splits"]]
    pairs = [frozenset(pair) for pair in zip(across["path_a"], across["path_b"], strict=True)]
    assert copies <= set(pairs)
    # Pictures of a class are much alike, so a copy is also close to others of its class.
    planted = frozenset.union(*copies)
    assert all(pair & planted for pair in pairs[: 2 * len(copies)])
    assert (output / "inspection.html").exists()
