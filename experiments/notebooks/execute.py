"""Runs notebooks from the first cell to the last, and saves them with their outputs.

python experiments/notebooks/execute.py            # all of this folder
python experiments/notebooks/execute.py dvml quick_start
"""

import pathlib
import sys
import tempfile

import nbformat
from nbclient import NotebookClient

FOLDER = pathlib.Path(__file__).parent
SECONDS_PER_CELL = 600


def execute(path: pathlib.Path, folder: str) -> nbformat.NotebookNode:
    """Runs a notebook in a separate process.

    Args:
        path: The notebook.
        folder: The folder that it runs in and leaves its files in.

    Returns:
        The notebook with its outputs, except what was written to standard error.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": folder}}
    NotebookClient(
        notebook, timeout=SECONDS_PER_CELL, kernel_name="python3", resources=resources
    ).execute()
    for cell in notebook.cells:
        # Times differ in every run.
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
    return notebook


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(path.stem for path in FOLDER.glob("*.ipynb")):
        path = FOLDER / f"{name}.ipynb"
        with tempfile.TemporaryDirectory() as folder:
            notebook = execute(path, folder)
        notebook.metadata.language_info = {"name": "python"}
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size:,} bytes")
