"""Runs notebooks from their first cell to their last, and keeps what comes out in them.

python experiments/notebooks/execute.py            # all of this folder
python experiments/notebooks/execute.py dvml quick_start
"""

import pathlib
import re
import sys
import tempfile

import nbformat
from nbclient import NotebookClient

FOLDER = pathlib.Path(__file__).parent
SECONDS_PER_CELL = 600
# What TensorFlow writes about the machine while it is imported.
NOTES = re.compile(r"^(WARNING: All log messages before absl::|[IE]\d{4} ).*\n", re.MULTILINE)


def execute(path: pathlib.Path, folder: str) -> nbformat.NotebookNode:
    """Runs a notebook in a process of its own.

    Args:
        path: The notebook.
        folder: Where it runs, and leaves its files.

    Returns:
        The notebook with its outputs, without the notes of TensorFlow.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": folder}}
    NotebookClient(
        notebook, timeout=SECONDS_PER_CELL, kernel_name="python3", resources=resources
    ).execute()
    for cell in notebook.cells:
        # Times differ at every run.
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in map(_drop_notes, cell.outputs) if output]
    return notebook


def _drop_notes(output):
    if output.get("name") == "stderr":
        output.text = NOTES.sub("", output.text)
        return output if output.text.strip() else None
    return output


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(path.stem for path in FOLDER.glob("*.ipynb")):
        path = FOLDER / f"{name}.ipynb"
        with tempfile.TemporaryDirectory() as folder:
            notebook = execute(path, folder)
        notebook.metadata.language_info = {"name": "python"}
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size:,} bytes")
