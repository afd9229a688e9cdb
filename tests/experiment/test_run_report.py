"""Reports from folders as training leaves them."""

import csv
import html.parser
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from ccp_dml.data import Benchmark, LabeledImages
from ccp_dml.experiment import run_report
from ccp_dml.experiment.run_report import ReportFailedError, write_report
from ccp_dml.experiment.table import make_tables
from tests.experiment.saved_runs import save_embeddings, save_run, unit_vectors

LABELS = np.arange(24) % 3
GALLERY_LABELS = np.arange(30) % 3


class Page(html.parser.HTMLParser):
    """The texts of a page by section, and its images."""

    def __init__(self, path):
        super().__init__()
        self.section, self.texts, self.images = "", {"": ""}, []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "section":
            self.section = attributes["id"]
            self.texts[self.section] = ""
        if tag == "img":
            self.images.append((self.section, attributes["alt"]))

    def handle_data(self, data):
        self.texts[self.section] += f" {' '.join(data.split())}"

    def alt_texts(self, section):
        return [alt for place, alt in self.images if place == section]


def metrics(value):
    recalls = {f"recall_at_{k}": value + k / 100 for k in (1, 2, 4, 8)}
    return {"map_at_r": value, "precision_at_1": value, "r_precision": value, **recalls}


def save_finished(folder, generator, methods=("plain", "ccp"), gallery=False, **flags):
    """Saves a finished run, with random embeddings that the report can draw."""
    effort = {"steps": 75, "best_step": 50, "rounds": 2, "seconds": 1.5, "best_phase": ""}
    results = {"seed": flags.get("seed", 0), "before": metrics(0.1)}
    results |= {method: metrics(0.3) | effort for method in methods}
    save_run(folder, results, methods, **{"seed": 0, "dataset": "folder", **flags})
    for method in ("before", *methods):
        arrays = {"embeddings": unit_vectors(generator, len(LABELS), 4), "labels": LABELS}
        if gallery:
            arrays["gallery_embeddings"] = unit_vectors(generator, len(GALLERY_LABELS), 4)
            arrays["gallery_labels"] = GALLERY_LABELS
        save_embeddings(folder / method, **arrays)
    for method in methods:
        with (folder / method / "history.csv").open("w") as file:
            rows = csv.writer(file)
            rows.writerow(["epoch", "loss", "round", "covering_radius", "step", "val_map_at_r"])
            for epoch, round_number in enumerate([0, 0, 1, 1, 2]):
                rows.writerow([epoch, 1 / (epoch + 1), round_number, 0.5, 25 * epoch + 25, 0.3])


def make_benchmark(generator, labels=LABELS, gallery=False):
    def make(part_labels):
        images = generator.uniform(size=(len(part_labels), 8, 8, 1)).astype("float32")
        return LabeledImages(images, part_labels)

    return Benchmark(
        train=make(labels),
        test=make(labels),
        gallery=make(GALLERY_LABELS) if gallery else None,
        # The last is the name of a folder that is not valid Unicode.
        class_names=("<script>alert(1)</script>", "b & c", "🐕\udcff"),
    )


def report_of(*folders, output, benchmark=None):
    return Page(write_report(make_tables(folders), output, benchmark))


SECTIONS = [
    "",
    "results",
    "settings",
    "recall",
    "queries-and-their-neighbours",
    "map-of-the-embeddings",
    "classes",
    "distances-of-pairs",
    "training",
    "rounds",
]


@pytest.mark.parametrize("gallery", [False, True])
def test_the_report_of_a_run(gallery, tmp_path, generator):
    folder = tmp_path / "shoes"
    save_finished(folder, generator, gallery=gallery, embedding_size=4)
    benchmark = make_benchmark(generator, gallery=gallery)
    page = report_of(folder, output=folder, benchmark=benchmark)
    assert list(page.texts) == SECTIONS
    assert "Report of shoes" in page.texts[""]
    assert "0.3000" in page.texts["results"]
    assert "embedding_size 4 128" in " ".join(page.texts["settings"].split())
    for name in ("<script>alert(1)</script>", "b & c", "🐕?"):
        assert name in page.texts["classes"]
    assert len(page.alt_texts("map-of-the-embeddings")) == 3
    # Three queries of each kind, with what three methods find.
    assert len(page.alt_texts("queries-and-their-neighbours")) == 9 * (1 + 3 * 10)
    searched = "the gallery" if gallery else "all other test images"
    assert searched in page.texts["queries-and-their-neighbours"]


def test_the_same_folder_gives_the_same_bytes(tmp_path, generator):
    save_finished(tmp_path / "run", generator)
    benchmark = make_benchmark(generator)
    tables = make_tables([tmp_path / "run"])
    first = write_report(tables, tmp_path / "run", benchmark).read_bytes()
    second = write_report(tables, tmp_path / "other", benchmark).read_bytes()
    assert first == second


def test_folds_and_seeds(tmp_path, generator):
    for fold in (1, 2):
        for seed in (0, 1):
            folder = tmp_path / "runs" / f"fold{fold}_seed{seed}"
            save_finished(folder, generator, fold=fold, seed=seed)
    page = report_of(tmp_path / "runs", output=tmp_path, benchmark=make_benchmark(generator))
    assert "0.3000 ± 0.0000" in page.texts["results"]
    assert "Paired differences" in page.texts["results"]
    assert "distances are those of one run per folder: fold1_seed0 of " in page.texts["results"]
    assert "fold 1, 2" in " ".join(page.texts["settings"].split())
    assert "A line for each training run." in page.texts["training"]
    assert len(page.alt_texts("map-of-the-embeddings")) == 3


def test_several_folders_side_by_side(tmp_path, generator):
    save_finished(tmp_path / "one", generator, learning_rate=1e-3, loss="contrastive")
    save_finished(tmp_path / "two", generator, learning_rate=1e-5, loss="triplet")
    shutil.copytree(tmp_path / "one" / "before", tmp_path / "two" / "before", dirs_exist_ok=True)
    page = report_of(
        tmp_path / "one", tmp_path / "two", output=tmp_path, benchmark=make_benchmark(generator)
    )
    settings = " ".join(page.texts["settings"].split())
    assert "loss contrastive triplet contrastive" in settings
    assert "learning_rate 0.001 1e-05 1e-05" in settings
    # The same network before training is shown once.
    maps = page.alt_texts("map-of-the-embeddings")
    assert [alt.rpartition(", ")[2] for alt in maps] == [
        "one: before.",
        "one: plain.",
        "one: ccp.",
        "two: plain.",
        "two: ccp.",
    ]


def test_more_methods_than_there_is_room_for(tmp_path, generator):
    for name in "abc":
        save_finished(tmp_path / name, generator)
    page = report_of(
        *(tmp_path / name for name in "abc"), output=tmp_path, benchmark=make_benchmark(generator)
    )
    assert len(page.alt_texts("map-of-the-embeddings")) == 6
    assert "c: before, c: plain, c: ccp: in tables and curves only" in page.texts["results"]


def test_folders_of_other_test_images(tmp_path, generator):
    save_finished(tmp_path / "one", generator)
    save_finished(tmp_path / "two", generator, gallery=True)
    page = report_of(
        tmp_path / "one", tmp_path / "two", output=tmp_path, benchmark=make_benchmark(generator)
    )
    assert "two is in tables and curves only: its test images" in page.texts["results"]
    assert len(page.alt_texts("map-of-the-embeddings")) == 3


WITHOUT = "There are no images in this report:"


def test_missing_data(tmp_path, generator):
    save_finished(tmp_path / "run", generator, data_dir="/nowhere/shoes")
    page = report_of(tmp_path / "run", output=tmp_path)
    assert f"{WITHOUT} /nowhere/shoes no longer contains folder." in page.texts["results"]
    assert page.texts["results"].count(WITHOUT) == 1
    assert not page.images
    assert set(page.texts) == set(SECTIONS) - {
        "queries-and-their-neighbours",
        "map-of-the-embeddings",
    }


def test_data_in_the_home_folder_are_found(tmp_path, generator, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "shoes").mkdir()
    save_finished(tmp_path / "run", generator, data_dir="~/shoes")
    page = report_of(tmp_path / "run", output=tmp_path)
    assert f"{WITHOUT} {tmp_path}/shoes contains no images" in page.texts["results"]


def test_data_that_are_not_downloaded_for_a_report(tmp_path, generator, monkeypatch):
    monkeypatch.setattr(run_report, "load_benchmark", None)
    save_finished(tmp_path / "run", generator, dataset="sop", data_dir=tmp_path)
    page = report_of(tmp_path / "run", output=tmp_path)
    assert f"{WITHOUT} {tmp_path} no longer contains sop." in page.texts["results"]


def test_data_that_cannot_be_loaded(tmp_path, generator):
    (tmp_path / "data").mkdir()
    save_finished(tmp_path / "run", generator, data_dir=tmp_path / "data")
    page = report_of(tmp_path / "run", output=tmp_path)
    assert f"{WITHOUT} " in page.texts["results"]
    assert str(tmp_path / "data") in page.texts["results"]


def test_data_that_have_changed(tmp_path, generator):
    save_finished(tmp_path / "run", generator)
    benchmark = make_benchmark(generator, labels=LABELS[::-1])
    page = report_of(tmp_path / "run", output=tmp_path, benchmark=benchmark)
    assert f"{WITHOUT} the data set has changed since." in page.texts["results"]


def test_an_image_that_cannot_be_read(tmp_path, generator, monkeypatch):
    def fail(*arguments):
        raise tf.errors.NotFoundError(None, None, "x.jpg; No such file")

    monkeypatch.setattr(LabeledImages, "show", fail)
    save_finished(tmp_path / "run", generator)
    page = report_of(tmp_path / "run", output=tmp_path, benchmark=make_benchmark(generator))
    assert "cannot be read: x.jpg; No such file" in page.texts["queries-and-their-neighbours"]
    assert not page.images
    assert page.texts["classes"]


def test_runs_of_earlier_versions(tmp_path, generator):
    folder = tmp_path / "run"
    save_finished(folder, generator, steps_per_validation=10)
    shutil.rmtree(folder / "before")
    (folder / "ccp" / "history.csv").unlink()
    path = folder / "plain" / "history.csv"
    rows = list(csv.reader(path.open()))
    with path.open("w") as file:
        csv.writer(file).writerows(
            [cell for place, cell in enumerate(row) if place != 4] for row in rows
        )
    (trained,) = run_report._read_trainings(make_tables([folder]).record)
    assert trained.history["step"].tolist() == [10, 20, 30, 40, 50]
    page = report_of(folder, output=tmp_path, benchmark=make_benchmark(generator))
    assert len(page.alt_texts("map-of-the-embeddings")) == 2
    assert "plain" in page.texts["training"]


@pytest.mark.parametrize("content", ["", 'epoch,loss\n0,1,2,3\n1,"2\n'])
def test_a_damaged_history(content, tmp_path, generator):
    save_finished(tmp_path / "run", generator)
    (tmp_path / "run" / "plain" / "history.csv").write_text(content)
    page = report_of(tmp_path / "run", output=tmp_path)
    assert "ccp" in page.texts["training"]
    assert "plain" not in page.texts["training"]


def test_settings_of_another_version(tmp_path, generator):
    save_finished(tmp_path / "run", generator, no_such_flag=3)
    page = report_of(tmp_path / "run", output=tmp_path)
    assert "settings of run are not those of this version" in page.texts["settings"]
    assert WITHOUT in page.texts["results"]


def test_damaged_embeddings(tmp_path, generator):
    save_finished(tmp_path / "run", generator)
    (tmp_path / "run" / "plain" / "test_embeddings.npz").write_bytes(b"half")
    page = report_of(tmp_path / "run", output=tmp_path, benchmark=make_benchmark(generator))
    assert "run, plain is not shown below" in page.texts["results"]
    assert len(page.alt_texts("map-of-the-embeddings")) == 2


def test_a_record_has_tables(tmp_path, generator):
    save_finished(tmp_path / "run", generator)
    run_report_tables = make_tables([tmp_path / "run"])
    run_report_tables.record.runs.to_csv(tmp_path / "runs.csv", index=False)
    page = report_of(tmp_path / "runs.csv", output=tmp_path / "report")
    assert list(page.texts) == ["", "results", "recall"]


def test_a_report_that_cannot_be_written(tmp_path, generator):
    save_finished(tmp_path / "run", generator)
    (tmp_path / "file").touch()
    tables = make_tables([tmp_path / "run"])
    with pytest.raises(ReportFailedError, match=r"the results are complete, but .*report\.html"):
        write_report(tables, tmp_path / "file")
    assert sorted(os.listdir(tmp_path)) == ["file", "run"]


def test_words_among_the_settings(generator, tmp_path):
    save_finished(tmp_path / "run", generator, loss_params="distance=cosine,negative_margin=0.25")
    page = Page(write_report(make_tables([tmp_path / "run"]), tmp_path / "run"))
    assert "distance=cosine, negative_margin=0.25" in page.texts["settings"]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"a,b\n1,2\n"])
def test_damaged_histories_are_not_drawn(content, generator, tmp_path):
    save_finished(tmp_path / "run", generator)
    for method in ("plain", "ccp"):
        (tmp_path / "run" / method / "history.csv").write_bytes(content)
    page = Page(write_report(make_tables([tmp_path / "run"]), tmp_path / "run"))
    assert "training" not in page.texts
