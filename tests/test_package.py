"""The package as it is built and installed, used from outside the repository."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile

import pytest
import setuptools

import ccp_dml

ROOT = pathlib.Path(__file__).parents[1]
# The first version that understands the licence field of pyproject.toml.
NEEDED_SETUPTOOLS = 77


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, and the wheel built from it."""
    if int(setuptools.__version__.partition(".")[0]) < NEEDED_SETUPTOOLS:
        pytest.skip(f"builds need setuptools {NEEDED_SETUPTOOLS}; this is {setuptools.__version__}")
    folder = tmp_path_factory.mktemp("built")
    # Builds leave files beside the sources, so they get a copy.
    source = folder / "source"
    names = ["pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md"]
    names += ["CITATION.cff", "CONTRIBUTING.md", "requirements.txt"]
    source.mkdir()
    for name in names:
        shutil.copy(ROOT / name, source)
    for name in ("ccp_dml", "tests"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    sdist = build("sdist", source, folder)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder)
    wheel = build("wheel", folder / sdist.name.removesuffix(".tar.gz"), folder)
    return sdist, wheel


def build(kind, source, folder):
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(folder)!r}))"
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return folder / process.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """An environment with only the wheel, which also sees the packages that the tests run with."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    # After its own packages; .pth files in these folders, which may name this repository, are
    # not followed.
    others = "\n".join(path for path in sys.path if path.endswith("site-packages"))
    (pathlib.Path(paths["purelib"]) / "dependencies.pth").write_text(f"{others}\n")
    python = pathlib.Path(paths["scripts"]) / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", built[1]], check=True)
    return python


def run(python, *arguments, folder):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [python, *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_version_is_written_once(built):
    sdist, wheel = built
    assert sdist.name == f"ccp_dml-{ccp_dml.__version__}.tar.gz"
    assert wheel.name == f"ccp_dml-{ccp_dml.__version__}-py3-none-any.whl"
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {ccp_dml.__version__}\n" in citation


def test_the_wheel_holds_every_file_of_the_package(built):
    with zipfile.ZipFile(built[1]) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "ccp_dml").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == files


def test_the_extras_are_in_the_metadata(built):
    with zipfile.ZipFile(built[1]) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = archive.read(name).decode()
    extras = set(re.findall(r"^Provides-Extra: (\w+)$", metadata, flags=re.MULTILINE))
    assert {"search", "hub", "jax", "torch", "docs", "test"} <= extras
    # The extras that messages and pages name.
    for path in [*(ROOT / "ccp_dml").rglob("*.py"), ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        for extra in re.findall(r"ccp_dml\[(\w+)\]", path.read_text(encoding="utf-8")):
            assert extra in extras, (path, extra)


@pytest.mark.slow
def test_a_cell_that_comes_with_the_package_trains_on_letters(installed, tmp_path):
    where = run(installed, "-c", "import ccp_dml; print(ccp_dml.__file__)", folder=tmp_path)
    assert str(installed.parents[1]) in where.stdout, where.stderr
    cell = run(installed, "-m", "ccp_dml.experiment.paper", "cub200_2011/c2_ccp", folder=tmp_path)
    assert cell.returncode == 0, cell.stderr
    (tmp_path / "cell.flags").write_text(cell.stdout)
    training = run(
        installed,
        "-m",
        "ccp_dml.main",
        "--flagfile=cell.flags",
        "--dataset=glyphs",
        "--dataset_params=train_letters=20,samples_per_letter=10",
        "--backbone=small_convnet",
        "--weights=glyphs",
        "--learning_rate=1e-3",
        "--max_steps=25",
        "--workdir=run",
        folder=tmp_path,
    )
    assert training.returncode == 0, training.stderr
    assert "| ccp |" in training.stdout
    assert {"report.html", "results.json", "model.keras"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }
