"""Embedding many images: what the file holds, and that a kill changes nothing."""

import contextlib
import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from ccp_dml.data import ImageListing, list_benchmark, list_images, load
from ccp_dml.experiment import embedding
from ccp_dml.experiment.embedding import embed_images, list_inputs
from ccp_dml.experiment.settings import Settings
from ccp_dml.experiment.workdir import WorkdirInUseError, WorkdirLock
from ccp_dml.inference import ConcatenatedEmbedder, Gallery
from tests.data.pictures import write_classes
from tests.inference.embedders import ColorEmbedder, small_embedder

# Embeds in small parts, and waits to be killed once it has embedded two.
_UNTIL_KILLED = """
import signal, sys
from ccp_dml.data import list_images
from ccp_dml.experiment import embedding
from ccp_dml.inference import ConcatenatedEmbedder

embedding._PART = 20
embedder = ConcatenatedEmbedder.load([sys.argv[1]])
embed, calls = embedder.embed, []

def embed_twice(*arguments):
    calls.append(arguments)
    if len(calls) > 2:
        signal.pause()
    return embed(*arguments)

embedder.embed = embed_twice
embedding.embed_images(embedder, list_images(sys.argv[2]), sys.argv[3])
"""


@pytest.fixture
def embedder():
    return ColorEmbedder()


@pytest.fixture
def folder(tmp_path):
    write_classes(tmp_path / "images", {"ant": 13, "bee": 20, "cat": 17})
    return tmp_path / "images"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(embedding, "_PART", 20)
    monkeypatch.setattr(embedding, "ROWS_AT_A_TIME", 30)


def test_a_folder_of_classes(embedder, folder, tmp_path):
    output = tmp_path / "made" / "gallery.parquet"
    listing = list_images(folder)
    assert embed_images(embedder, listing, output, batch_size=5) == 50
    gallery = Gallery.load(output)
    assert gallery.ids.tolist() == listing.images
    assert gallery.labels.tolist() == ["ant"] * 13 + ["bee"] * 20 + ["cat"] * 17
    assert gallery.networks == ["color"]
    np.testing.assert_allclose(gallery.embeddings, embedder.embed(listing.images), atol=1e-6)
    table = pyarrow.parquet.ParquetFile(output)
    groups = [table.metadata.row_group(group).num_rows for group in range(table.num_row_groups)]
    assert groups == [40, 10]
    assert [path.name for path in output.parent.iterdir()] == ["gallery.parquet"]


def test_images_in_memory_are_numbered(tmp_path):
    digits = load("digits")
    listing = list_benchmark(digits)
    shown = ImageListing(listing.images[890:910], listing.labels[890:910], listing.splits[890:910])
    networks = ConcatenatedEmbedder([small_embedder(0), small_embedder(1)])
    embed_images(networks, shown, tmp_path / "digits.parquet")
    stored = pyarrow.parquet.read_table(tmp_path / "digits.parquet").to_pydict()
    assert stored["id"] == list(range(20))
    assert stored["label"] == shown.labels
    assert stored["split"] == ["train"] * 11 + ["test"] * 9
    expected = networks.embed(list(shown.images))
    np.testing.assert_allclose(stored["embedding"], expected, atol=1e-6)


def test_the_same_call_resumes_after_a_killed_process(folder, tmp_path):
    small_embedder().save(tmp_path / "model.keras")
    outputs = tmp_path / "killed.parquet", tmp_path / "whole.parquet"
    process = subprocess.Popen(
        [sys.executable, "-c", _UNTIL_KILLED, tmp_path / "model.keras", folder, outputs[0]],
        stderr=subprocess.DEVNULL,
    )
    parts = tmp_path / "killed.parquet.parts"
    try:
        while not (parts / "00000001.parquet").exists():
            assert process.poll() is None
            # Without a pause, this loop would take a processor away from the process.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.02)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not outputs[0].exists()
    # What a process killed while writing a part would leave.
    (parts / ".unfinished-1-00000002.parquet").write_text("half")

    embedder = ConcatenatedEmbedder.load([tmp_path / "model.keras"])
    embed, calls = embedder.embed, []
    embedder.embed = lambda *arguments: calls.append(arguments) or embed(*arguments)
    embed_images(embedder, list_images(folder), outputs[0])
    assert len(calls) == 3 - 2
    embed_images(embedder, list_images(folder), outputs[1])
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert not parts.exists()


def test_what_is_finished_is_left_as_it_is(embedder, folder, tmp_path):
    output = tmp_path / "gallery.parquet"
    embed_images(embedder, list_images(folder), output)
    assert len(embedder.calls) == 3
    assert embed_images(embedder, list_images(folder), output) == 50
    assert len(embedder.calls) == 3


@pytest.mark.parametrize("change", ["file", "listing", "network", "label"])
def test_other_inputs_begin_anew_and_keep_what_was_there(change, embedder, folder, tmp_path):
    output = tmp_path / "gallery.parquet"
    listing = list_images(folder)
    embed_images(embedder, listing, output)
    before = output.read_bytes()
    (tmp_path / "gallery.parquet.hnsw.faiss").touch()
    if change == "file":
        (folder / "ant" / "0.jpg").write_bytes((folder / "bee" / "0.jpg").read_bytes())
    elif change == "listing":
        (folder / "ant" / "0.jpg").unlink()
    elif change == "network":
        embedder = ColorEmbedder("other", scale=0.5)
    else:
        (folder / "ant").rename(folder / "ape")
    embed_images(embedder, list_images(folder), output)
    after = Gallery.load(output)
    assert len(after) == (49 if change == "listing" else 50)
    np.testing.assert_allclose(after.embeddings, embedder.embed(after.ids.tolist()), atol=1e-6)
    (earlier,) = (tmp_path / "earlier").iterdir()
    assert (earlier / "gallery.parquet").read_bytes() == before
    assert (earlier / "gallery.parquet.hnsw.faiss").exists()


def test_parts_of_other_inputs_are_not_reused(embedder, folder, tmp_path, monkeypatch):
    output = tmp_path / "gallery.parquet"

    def fail(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(embedding, "_join_parts", fail)
        with pytest.raises(KeyboardInterrupt):
            embed_images(embedder, list_images(folder), output)
    assert (tmp_path / "gallery.parquet.parts" / "00000002.parquet").exists()
    other = ColorEmbedder("other", scale=0.5)
    embed_images(other, list_images(folder), output)
    gallery = Gallery.load(output)
    np.testing.assert_allclose(gallery.embeddings, other.embed(gallery.ids.tolist()), atol=1e-6)


def test_damaged_images(embedder, folder, tmp_path):
    output = tmp_path / "gallery.parquet"
    (folder / "ant" / "0.jpg").write_text("text")
    (folder / "cat" / "9.jpg").write_bytes(b"")
    listing = list_images(folder)
    with pytest.raises(ValueError, match=r"1 of the first 20 files .*ant/0.jpg \(is n"):
        embed_images(embedder, listing, output)
    with pytest.raises(
        ValueError, match=r"2 of the first 50 files .* max_bad_images is 1: .*cat/9"
    ):
        embed_images(embedder, listing, output, max_bad_images=1)
    assert embed_images(embedder, listing, output, max_bad_images=2) == 48
    gallery = Gallery.load(output)
    bad = {f"{folder}/ant/0.jpg", f"{folder}/cat/9.jpg"}
    assert gallery.ids.tolist() == [path for path in listing.images if path not in bad]
    np.testing.assert_allclose(gallery.embeddings, embedder.embed(gallery.ids.tolist()), atol=1e-6)


def test_pipes_and_images_that_are_too_large_count_as_bad(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    Image.new("RGB", (10, 10), "red").save(tmp_path / "large.png")
    Image.new("RGB", (8, 8), "lime").save(tmp_path / "small.png")
    (tmp_path / "z\nz.png").write_text("text")
    listing, output = list_images(tmp_path), tmp_path / "a.parquet"
    embedder = ConcatenatedEmbedder([small_embedder()])
    message = r"max_bad_images is 2: .*pipe.jpg \(is not a file\); .*z\\nz.png \(is not in"
    with pytest.raises(ValueError, match=message):
        embed_images(embedder, listing, output, max_bad_images=2, max_pixels=99)
    assert embed_images(embedder, listing, output, max_bad_images=3, max_pixels=99) == 1


def test_nothing_but_damaged_images(embedder, tmp_path):
    (tmp_path / "a.jpg").write_text("text")
    with pytest.raises(ValueError, match="none of the 1 files is an image that can be decoded"):
        embed_images(embedder, list_images(tmp_path), tmp_path / "a.parquet", max_bad_images=5)


def test_one_process_at_a_time(embedder, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("ccp_dml.experiment.workdir._SECONDS_TO_WAIT", 0.01)
    with WorkdirLock(tmp_path / "a.parquet.parts"), pytest.raises(WorkdirInUseError):
        embed_images(embedder, list_images(folder), tmp_path / "a.parquet")


def test_an_output_that_is_a_folder(embedder, folder, tmp_path):
    with pytest.raises(ValueError, match="is a folder: name a file in it"):
        embed_images(embedder, list_images(folder), tmp_path)


def test_inputs_of_the_command_line(folder):
    listing = list_inputs(Settings(dataset="folder", data_dir=str(folder)))
    assert len(listing) == 50
    assert len(list_inputs(Settings(dataset="digits"))) == 1797
    with pytest.raises(ValueError, match="data_dir is missing"):
        list_inputs(Settings(dataset="folder"))
