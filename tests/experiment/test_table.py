"""The tables of finished runs, from their folders to the files."""

import pathlib

import numpy as np
import pandas as pd
import pytest

from ccp_dml.experiment.published import PublishedCell
from ccp_dml.experiment.records import read_record, read_runs
from ccp_dml.experiment.table import write_tables
from tests import naive
from tests.experiment.saved_runs import save_embeddings, save_run, unit_vectors

LETTERS = pathlib.Path(__file__).parents[2] / "experiments" / "letters"
LABELS = np.arange(40) % 4
FILES = ["differences.csv", "runs.csv", "table.csv", "table.md"]


@pytest.fixture
def protocol(tmp_path, generator):
    """A protocol of 2 folds × 2 seeds × 2 methods, and its embeddings by fold, seed and method."""
    embeddings = {}
    for fold in (1, 2):
        for seed in (0, 1):
            folder = tmp_path / "c2" / f"fold{fold}_seed{seed}"
            results = {"seed": seed, "fold": fold, "before": {"map_at_r": 0.05 * fold}}
            for number, method in enumerate(("plain", "ccp")):
                part = unit_vectors(generator, len(LABELS), 64)
                embeddings[fold, seed, method] = part
                save_embeddings(folder / method, embeddings=part, labels=LABELS)
                measured = naive.retrieval(part, LABELS)
                best_phase = "warm-up" if (fold, seed, method) == (2, 1, "ccp") else ""
                trained = {"best_step": 100, "rounds": number, "seconds": 60.0}
                results[method] = {**measured, **trained, "best_phase": best_phase}
            save_run(folder, results, dataset="glyphs", embedding_size=64)
    return tmp_path / "c2", embeddings


def cells(text, caption):
    """The cells of the Markdown table below a caption, by name, method and kind of embedding."""
    table = text[text.index(caption) :].split("\n\n")[1]
    header, _, *lines = (
        [cell.strip() for cell in line.split(" | ")] for line in table[2:-2].split(" |\n| ")
    )
    found = [dict(zip(header, line, strict=True)) for line in lines]
    return {(row["name"], row["method"], row.get("embedding")): row for row in found}


def test_a_protocol_equals_what_is_computed_naively(protocol, tmp_path):
    folder, embeddings = protocol
    text = write_tables([folder], tmp_path / "tables")
    markdown = (tmp_path / "tables" / "table.md").read_text(encoding="utf-8")
    results = cells(markdown, "Mean over folds")
    assert list(results) == [("c2", method, None) for method in ("before", "plain", "ccp")]
    together = cells(markdown, "The networks of all folds")
    for method in ("plain", "ccp"):
        values = [
            naive.retrieval(part, LABELS)["map_at_r"]
            for key, part in embeddings.items()
            if key[2] == method
        ]
        shown = results["c2", method, None]
        assert shown["MAP@R"].split(" ± ")[0] == f"{np.mean(values):.4f}"
        assert shown["runs"] == "4"
        concatenated = [
            naive.retrieval(
                naive.normalize(
                    np.concatenate([embeddings[1, seed, method], embeddings[2, seed, method]], 1)
                ),
                LABELS,
            )["map_at_r"]
            for seed in (0, 1)
        ]
        shown = together["c2", method, "128-d"]
        assert shown["MAP@R"].split(" ± ")[0] == f"{np.mean(concatenated):.4f}"
        assert shown["seeds"] == "2"
        assert ("c2", method, "64-d, PCA") in together
    assert results["c2", "ccp", None]["best step"] == "100, warm-up in 1 of 4"
    assert (
        "- c2, ccp: the best weights are from before the method took effect (warm-up in 1 of 4 "
        in text
    )
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == FILES
    for name, columns in [("table.csv", 4), ("differences.csv", 6)]:
        assert pd.read_csv(tmp_path / "tables" / name).shape[1] > columns


def test_metrics_that_were_chosen_are_those_of_the_concatenation_too(tmp_path, generator):
    parts = [unit_vectors(generator, len(LABELS), 8) for _ in range(2)]
    for fold, part in enumerate(parts, start=1):
        folder = tmp_path / "c2" / f"fold{fold}_seed0"
        save_embeddings(folder / "plain", embeddings=part, labels=LABELS)
        names = ("map_at_r", "mrr", "map_at_7")
        found = naive.retrieval(part, LABELS, map_at=[7])
        measured = {name: found[name] for name in names} | {"nmi": 0.1}
        if fold == 1:
            measured["map"] = found["map"]
        save_run(folder, {"seed": 0, "fold": fold, "plain": measured}, ["plain"])
    write_tables([tmp_path / "c2"], tmp_path)
    markdown = (tmp_path / "table.md").read_text(encoding="utf-8")
    shown = cells(markdown, "The networks of all folds")["c2", "plain", "16-d"]
    together = naive.normalize(np.concatenate(parts, axis=1))
    expected = naive.retrieval(together, LABELS, map_at=[7])
    for name, title in [("map_at_r", "MAP@R"), ("mrr", "MRR"), ("map_at_7", "MAP@7")]:
        assert shown[title] == f"{expected[name]:.4f}"
    assert float(shown["NMI"]) > 0
    # Not all networks have it.
    assert "MAP" not in shown
    assert "MRR" in cells(markdown, "Mean over folds")["c2", "plain", None]
    recorded = read_record(tmp_path / "runs.csv").set_index("embedding")
    assert recorded.loc["concatenated", "mrr"] == pytest.approx(expected["mrr"], abs=1e-6)


def test_a_record_gives_the_tables_of_its_runs(protocol, tmp_path):
    folder, _ = protocol
    text = write_tables([folder], tmp_path / "tables")
    assert write_tables([tmp_path / "tables" / "runs.csv"]) == text


def test_nothing_is_written_unless_asked_for(protocol):
    folder, _ = protocol
    before = sorted(folder.rglob("*"))
    assert write_tables([folder])
    assert sorted(folder.rglob("*")) == before


def test_folders_are_compared(protocol, tmp_path):
    folder, _ = protocol
    save_run(
        tmp_path / "c1" / "seed0",
        {"seed": 0, "plain": {"map_at_r": 0.9}},
        methods=["plain"],
        fold=2,
    )
    write_tables([folder, tmp_path / "c1"], tmp_path)
    rows = cells((tmp_path / "table.md").read_text(encoding="utf-8"), "Paired differences")
    assert rows["c2", "ccp", None]["minus"] == "plain"
    assert rows["c2", "ccp", None]["positive"].endswith("of 4")
    shown = rows["c1", "plain", None]
    assert shown["minus"] == "c2:plain"
    runs = read_runs([folder]).runs
    is_pair = (runs["fold"] == 2) & (runs["seed"] == 0) & (runs["method"] == "plain")
    assert shown["MAP@R"] == f"{0.9 - runs.loc[is_pair, 'map_at_r'].item():+.4f}"
    write_tables([folder, tmp_path / "c1"], tmp_path, baseline="c1:plain")
    rows = cells((tmp_path / "table.md").read_text(encoding="utf-8"), "Paired differences")
    assert {row["minus"] for row in rows.values()} == {"c1:plain"}
    with pytest.raises(ValueError, match="baseline must be one of c2:before, c2:plain"):
        write_tables([folder], baseline="c1:plain")


def test_what_cannot_be_concatenated_is_noted(protocol):
    folder, _ = protocol
    (folder / "fold2_seed0" / "ccp" / "test_embeddings.npz").write_bytes(b"PK")
    (folder / "fold2_seed1" / "results.json").unlink()
    text = write_tables([folder])
    assert "- c2: left out 1 run that is not finished (fold2_seed1).\n" in text
    assert "- c2: no concatenation for seed 1: fold 2 is missing.\n" in text
    assert "- c2: no concatenation for seed 0 of ccp: " in text
    assert "is damaged" in text
    assert "128-d" in text


def test_published_results_stand_beside_the_runs(tmp_path, generator):
    for fold in range(1, 5):
        folder = tmp_path / "cell" / f"fold{fold}_seed0"
        measured = {"map_at_r": 0.25, "precision_at_1": 0.6, "r_precision": 0.3}
        measured["best_step"] = 1000
        for method in ("plain", "ccp"):
            part = unit_vectors(generator, len(LABELS), 128)
            save_embeddings(folder / method, embeddings=part, labels=LABELS)
        results = {"seed": 0, "fold": fold, "plain": measured, "ccp": measured}
        save_run(folder, results, dataset="sop", embedding_size=128, loss="triplet")
    asked = set()

    def published(settings, method):
        asked.add((settings.dataset, settings.loss, method))
        metrics = {128: {"map_at_r": 0.26}, 512: {"map_at_r": 0.3}}
        return PublishedCell("Triplet", metrics, 93_000) if method == "plain" else None

    write_tables([tmp_path / "cell"], tmp_path, published=published)
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    rows = cells(text, "Published results")
    assert asked == {("sop", "triplet", "plain"), ("sop", "triplet", "ccp")}
    assert [key[1:] for key in rows] == [("plain", "128-d"), ("plain", "512-d")]
    assert rows["cell", "plain", "128-d"]["MAP@R"] == "0.2600 (-0.0100)"
    assert rows["cell", "plain", "128-d"]["best step"] == "93000 (-92000)"
    assert rows["cell", "plain", "128-d"]["published as"] == "Triplet"
    concatenated = float(cells(text, "The networks")["cell", "plain", "512-d"]["MAP@R"])
    shown = rows["cell", "plain", "512-d"]["MAP@R"]
    assert shown == f"0.3000 ({concatenated - 0.3:+.4f})"


def test_settings_of_another_version_have_no_published_results(tmp_path):
    save_run(tmp_path / "old", {"seed": 0, "plain": {"map_at_r": 0.2}}, ["plain"], no_flag_now=1)
    assert "Published" not in write_tables(
        [tmp_path / "old"],
        published=lambda settings, method: PublishedCell("C2", {128: {"map_at_r": 0.3}}, None),
    )


@pytest.mark.parametrize("folder", [LETTERS, LETTERS / "folds"])
def test_the_tables_of_the_letters_are_those_of_their_runs(folder, tmp_path):
    write_tables([folder / "runs.csv"], tmp_path)
    text = (folder / "table.md").read_text(encoding="utf-8")
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == text


def test_the_numbers_of_the_letters_are_means_of_their_runs():
    rows = cells((LETTERS / "table.md").read_text(encoding="utf-8"), "Mean over folds")
    runs = read_record(LETTERS / "runs.csv")
    page = (LETTERS / "README.md").read_text(encoding="utf-8")
    assert len(rows) == 5
    for (_, method, _), row in rows.items():
        own = runs[runs["method"] == method.replace(" ", "_")]
        assert row["runs"] == str(len(own))
        for title, column in {"MAP@R": "map_at_r", "P@1": "precision_at_1"}.items():
            mean = f"{sum(own[column]) / len(own):.4f}"
            assert row[title].split(" ± ")[0] == mean
            assert mean.removeprefix("0") in page


def test_tables_in_a_bucket(protocol, bucket):
    write_tables([protocol[0]], "gs://bucket/tables")
    assert sorted(path.name for path in (bucket / "tables").iterdir()) == FILES
