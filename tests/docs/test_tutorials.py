"""The code of the tutorials runs; that for own images runs on odd pictures and on digits."""

import pathlib
import re
import runpy

import numpy as np
import pytest
from PIL import Image

from tests.data.pictures import gradient
from tests.docs.commands import assert_flags_and_flagfiles_exist

ROOT = pathlib.Path(__file__).parents[2]
TUTORIALS = ROOT / "docs" / "tutorials"
run_page = runpy.run_path(str(ROOT / "experiments" / "run_page.py"))
read_code, run_code = run_page["read_code"], run_page["run_code"]

ON_BOTH = pytest.mark.both_backends(slow=True)
LOAD_FOLDER = re.compile(r'ccp_dml\.data\.load\("folder", .*\)')


def shorten(code, epochs):
    """The same code with short trainings."""
    code, found = re.subn(r"\bsteps_per_epoch=\d+", "steps_per_epoch=3", code)
    assert found
    return re.sub(r"\bepochs=\d+", f"epochs={epochs}", code)


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_odd_pictures(folder):
    """Pictures of eight classes as people have them: any sizes, names, kinds and modes."""
    names = ["plain.jpg", "with space.JPEG", "Übergröße.png", "#1 100%.png", "a'b\"c.jpg", "-x.PNG"]
    names += ["画像.jpg", "dots.in.name.png"]
    classes = ["boots", "Sandalen (alt)", "é", "100% wool", "#tags", "a b", "[x]", "zebra"]
    generator = np.random.default_rng(0)
    for place, class_name in enumerate(classes):
        (folder / class_name).mkdir(parents=True)
        for number, name in enumerate(names):
            height, width = generator.integers(9, 80, 2)
            pixels = gradient(height, width, place)
            picture = Image.fromarray(pixels)
            if name.lower().endswith("png"):
                if number % 4 == 2:
                    # Half of it is transparent.
                    alpha = np.where(np.arange(width) < width // 2, 0, 255).astype("uint8")
                    picture.putalpha(Image.fromarray(np.tile(alpha, (height, 1))))
                else:
                    picture = picture.convert("P" if number % 2 else "L")
            picture.save(folder / class_name / name)


@ON_BOTH
def test_the_lines_for_own_images_run_on_odd_ones(in_folder, capsys):
    write_odd_pictures(in_folder / "pictures")
    code = shorten(read_code(TUTORIALS / "own_images.md"), epochs=6)
    names = run_code(code)
    labels = names["data"].train.labels
    # The folder's labels are not the 0…C − 1 that training needs; those of the split are.
    assert np.unique(labels).tolist() != list(range(4))
    assert np.unique(names["train"].labels).tolist() == list(range(4))
    assert len(names["data"].train) + len(names["data"].test) == 64
    assert names["rounds"].round >= 0
    assert names["found"].tolist()[0][0] == names["files"][0]
    assert "map_at_r" in capsys.readouterr().out
    # The saved network embeds files as evaluation does.
    embeddings = names["ccp_dml"].inference.load("model.keras").embed(names["files"])
    expected = names["ccp_dml"].evaluation.embed(names["model"], names["data"].test)
    np.testing.assert_allclose(embeddings, expected, atol=1e-5)


@ON_BOTH
def test_the_same_lines_run_on_digits(in_folder, capsys):
    lines = read_code(TUTORIALS / "own_images.md").partition("embedder =")[0]
    assert len(lines.strip().splitlines()) <= 18
    code, found = LOAD_FOLDER.subn('ccp_dml.data.load("digits")', lines)
    assert found == 1
    names = run_code(shorten(code, epochs=6))
    assert names["rounds"].round >= 0
    assert "map_at_r" in capsys.readouterr().out


@pytest.mark.parametrize("page", ["first_run", "own_loss", "own_backbone", "dvml"])
def test_training_on_built_in_data_runs(page, in_folder, capsys):
    names = run_code(shorten(read_code(TUTORIALS / f"{page}.md"), epochs=3))
    assert names["model"].optimizer.iterations.numpy() == 9
    printed = capsys.readouterr().out
    assert page != "own_loss" or "\n0.25\n" in f"\n{printed}"


def test_search_finds_the_letters_it_shows(in_folder, capsys):
    names = run_code(read_code(TUTORIALS / "search.md"))
    assert (in_folder / "gallery.parquet").exists()
    assert names["embeddings"].shape == (500, 64)
    assert [row[0] for row in names["found"]] == names["names"][:3]
    assert 0 < names["threshold"].false_accept_rate <= 0.01
    assert "the same below" in capsys.readouterr().out


def test_ccp_step_by_step_draws_its_pictures(in_folder, capsys):
    # Not shortened, because its pictures need rounds that end.
    names = run_code(read_code(TUTORIALS / "ccp_step_by_step.md"))
    assert len(names["snapshots"].snapshots) == 3
    for picture in ("ccp_rounds.png", "ccp_radii.png"):
        with Image.open(in_folder / picture) as drawn, Image.open(TUTORIALS / picture) as committed:
            assert drawn.size == committed.size
    assert "[[0.9 0. ]\n [0.  0.8]]" in capsys.readouterr().out


def test_commands_have_flags_and_flagfiles_that_exist():
    blocks = re.findall(
        r"```bash\n(.*?)```",
        "".join(page.read_text(encoding="utf-8") for page in TUTORIALS.glob("*.md")),
        flags=re.DOTALL,
    )
    commands = [line for block in blocks for line in block.splitlines() if "ccp_dml.main" in line]
    assert len(commands) == 3
    assert_flags_and_flagfiles_exist(commands)


def test_all_pages_are_run():
    tested = {"first_run", "own_images", "own_loss", "own_backbone", "search", "dvml"}
    assert {page.stem for page in TUTORIALS.glob("*.md")} == {*tested, "ccp_step_by_step"}
