"""The examples in the guide to search run, in the order of its sections."""

import pathlib
import re
import shlex

import numpy as np
import pytest

from tests.data.pictures import encoded, patterns
from tests.inference.embedders import small_embedder

GUIDE = (pathlib.Path(__file__).parents[2] / "docs" / "guides" / "search.md").read_text(
    encoding="utf-8"
)
SECTIONS = {
    title: re.findall(r"```(bash|python)\n(.*?)```", text, flags=re.DOTALL)
    for title, text in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", GUIDE, flags=re.M | re.DOTALL)
}


@pytest.fixture
def run_sections(tmp_path, monkeypatch, run_command):
    """Runs sections of the guide in a folder with a network and images of two classes."""
    monkeypatch.chdir(tmp_path)
    small_embedder(size=16, image_size=16).save("model.keras")
    for row, pixels in enumerate(patterns(num_classes=2, per_class=6)):
        path = tmp_path / "shoes" / ["boots", "sandals"][row // 6] / f"{row}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(pixels))
    (tmp_path / "boot.jpg").write_bytes((tmp_path / "shoes" / "boots" / "3.jpg").read_bytes())

    def run(*titles):
        names = {}
        for title in titles:
            assert SECTIONS[title]
            for language, code in SECTIONS[title]:
                if language == "python":
                    exec(code, names)
                    continue
                for command in code.strip().replace("\\\n", " ").splitlines():
                    python, module, main, *arguments = shlex.split(command)
                    assert [python, module, main] == ["python", "-m", "ccp_dml.main"]
                    run_command(*arguments)
        return names

    return run


def test_embed_search_and_inspect(run_sections, tmp_path, capsys):
    names = run_sections("Embed", "Search", "Look for faults")
    assert names["paths"][0, 0] == f"{tmp_path}/shoes/boots/3.jpg"
    assert names["distances"][0, 0] < 1e-6
    assert str(names["paths"][0, 4]) in capsys.readouterr().out
    assert (tmp_path / "search.png").exists()
    assert (tmp_path / "inspection" / "suspicious_labels.csv").exists()


def test_duckdb(run_sections):
    pytest.importorskip("duckdb")
    names = run_sections("Embed", "Search", "In DuckDB")
    assert [path for path, _, _ in names["nearest"]] == names["paths"][0].tolist()
    found = [distance for _, _, distance in names["nearest"]]
    np.testing.assert_allclose(found, names["distances"][0], atol=1e-6)
    ((*labels, similarity),) = names["between_classes"]
    assert labels == ["boots", "sandals"]
    embeddings, is_boot = names["gallery"].embeddings, names["gallery"].labels == "boots"
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    assert similarity == pytest.approx((unit[is_boot] @ unit[~is_boot].T).max(), abs=1e-5)


def test_lancedb(run_sections):
    pytest.importorskip("lancedb")
    names = run_sections("Embed", "Search", "In LanceDB")
    gallery = names["gallery"]
    boots = np.flatnonzero(gallery.labels == "boots")
    distances = np.linalg.norm(gallery.embeddings[boots] - names["query"], axis=1)
    order = np.argsort(distances)[:5]
    assert [row["path"] for row in names["found"]] == gallery.ids[boots[order]].tolist()
    found = np.sqrt([row["_distance"] for row in names["found"]])
    np.testing.assert_allclose(found, distances[order], atol=1e-3)
