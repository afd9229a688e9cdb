"""The notebooks run from their first cell to their last, and are committed as they should be."""

import pathlib
import re
import runpy

import nbformat
import pytest

NOTEBOOKS = pathlib.Path(__file__).parents[1] / "experiments" / "notebooks"
NAMES = ["quick_start", "own_images", "ccp_step_by_step", "dvml", "gpus_and_tpu"]
LARGEST = 1_000_000
execute = runpy.run_path(str(NOTEBOOKS / "execute.py"))["execute"]


def read(name):
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def run(name, folder):
    """Runs a notebook and returns everything it printed."""
    notebook = execute(NOTEBOOKS / f"{name}.ipynb", str(folder))
    return "".join(
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    )


@pytest.fixture(autouse=True)
def short_training(monkeypatch):
    monkeypatch.setenv("NOTEBOOK_EPOCHS", "3")
    monkeypatch.setenv("NOTEBOOK_STEPS", "5")


def test_the_quick_start_runs(tmp_path):
    printed = run("quick_start", tmp_path)
    assert re.search(r"map_at_r: 0\.\d+ before training, 0\.\d+ after it", printed)
    assert (tmp_path / "letters.keras").exists()


@pytest.mark.slow
def test_own_images_are_searched(tmp_path):
    printed = run("own_images", tmp_path)
    assert "train:  240 images of 16 classes" in printed
    assert (tmp_path / "gallery.parquet").exists()


@pytest.mark.slow
def test_ccp_step_by_step_draws_three_rounds(tmp_path):
    printed = run("ccp_step_by_step", tmp_path)
    trained, chosen = re.findall(r"covering radius of the \w+ proxies: ([\d.]+)", printed)
    assert float(chosen) < float(trained)


@pytest.mark.slow
def test_dvml_has_two_phases(tmp_path):
    assert "MAP@R of validation: 0." in run("dvml", tmp_path)


@pytest.mark.slow
def test_several_devices_give_the_numbers_of_one(tmp_path):
    printed = run("gpus_and_tpu", tmp_path)
    assert float(re.search(r"largest difference: (\S+)", printed)[1]) < 1e-3


def test_all_notebooks_are_run():
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_committed(name):
    assert (NOTEBOOKS / f"{name}.ipynb").stat().st_size < LARGEST
    first, *cells = read(name).cells
    assert f"/blob/main/experiments/notebooks/{name}.ipynb)" in first.source
    assert "colab-badge.svg" in first.source
    assert "**Needs**" in first.source
    assert "pip install" in first.source
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert outputs
    for output in outputs:
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.text
