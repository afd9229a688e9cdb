"""What the README shows is so."""

import pathlib
import re

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


def test_its_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
