"""What the README shows is true."""

import pathlib
import re

import PIL.Image

import ccp_dml

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_has_at_most_a_hundred_lines():
    assert len(README.splitlines()) <= 100


def test_the_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    # One validation after the warm-up is enough to see that every line works.
    shorter = code.replace("epochs=20", "epochs=5")
    assert shorter != code
    names = {}
    exec(shorter, names)
    assert names["rounds"].round == 0
    assert "map_at_r" in capsys.readouterr().out


def test_the_guide_to_training_has_the_same_example():
    guide = (ROOT / "docs" / "guides" / "training_in_python.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert code in guide


def test_the_example_has_enough_classes_in_a_folder_of_twenty(tmp_path):
    for label in range(20):
        (tmp_path / f"class{label}").mkdir()
        for number in range(4):
            picture = PIL.Image.new("RGB", (40, 30), (12 * label, 60 * number, 0))
            picture.save(tmp_path / f"class{label}" / f"{number}.png")
    preprocessing = ccp_dml.data.Preprocessing(image_size=64)
    data = ccp_dml.data.load("folder", str(tmp_path), preprocessing)
    train, held_out = ccp_dml.data.split_by_class(data.train)
    assert (train.num_classes, held_out.num_classes, data.test.num_classes) == (8, 2, 10)
    batches = ccp_dml.data.training_batches(train, classes_per_batch=8, samples_per_class=4, seed=0)
    _, labels = next(iter(batches))
    assert sorted(set(labels.numpy().tolist())) == list(range(8))


def test_its_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
