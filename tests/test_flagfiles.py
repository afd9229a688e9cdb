"""The flagfiles of experiments/ hold the values of the paper.

What they should expand to is written down here once more: the columns of `LOSSES` and `MEMORIES`
are those of the paper's table of hyperparameters, CUB, Cars196, In-Shop, SOP.
"""

import dataclasses
import itertools
import json
import pathlib
import subprocess
import sys

import pytest
from absl import flags

from ccp_dml import losses, main, miners
from ccp_dml.experiment.methods import make_model
from ccp_dml.experiment.settings import Settings
from ccp_dml.models import (
    ChanceConstrainedModel,
    EmbeddingModel,
    MetricLearningModel,
    ProxyModel,
    VariationalModel,
    small_convnet,
)

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("experiments/**/*.flags"))
# Demonstrations of this project, not of the paper.
OWN = {path for path in FILES if path.startswith(("experiments/digits", "experiments/glyphs"))}

COLUMNS = ("cub200_2011", "cars196", "inshop", "sop")
SMALL_SETS = ("cub200_2011", "cars196")

# By data set: (m+, m-), m, (alpha, beta, lambda), (lambda, gamma, tau, delta).
CONTRASTIVE = ((0, 0.3841), (0.2652, 0.5409), (0.2858, 0.5130), (0.2858, 0.5130))
TRIPLET = (0.0961, 0.1190, 0.0451, 0.0451)
MULTI_SIMILARITY = ((2, 40, 0.5), (14.35, 75.83, 0.66), (8.49, 57.38, 0.41), (2, 40, 0.5))
SOFT_TRIPLE = (
    (20, 0.1, 0.2, 0.01),
    (17.69, 19.18, 0.0669, 0.3588),
    (20, 0.1, 0.2, 0.01),
    (100, 47.9, 0.2, 0.3145),
)
MEMORIES = ((3, 25), (3, 25), (100, 400), (400, 1400))

# The data sets of DVML's paper.
DVML_SETS = ("cub200_2011", "cars196", "sop")

MLRC = {
    "image_size": 227,
    "resize_size": 256,
    "crop": "area",
    "scaling": "auto",
    "loss_wrapper": "none",
    "miner": "none",
    "backbone": "bn_inception",
    "weights": "imagenet",
    "freeze_batch_norm": True,
    "embedding_size": 128,
    "pooling": "average",
    "classes_per_batch": 8,
    "samples_per_class": 4,
    "patience": 60,
    "monitor": "map_at_r",
    "validation": "classes",
    "num_folds": 4,
    "learning_rate": 0.00001,
    "beta_2": 0.999,
    "weight_decay": 0.0001,
    "clip_norm": 10,
    "clip_value": 10,
    "plateau_patience": 0,
    "freeze_backbone_epochs": 0,
    "warmup_steps": 0,
    "proxy_loss_weight": 1,
    "batch_loss_weight": 0.1,
    "proximal_weight": 0.0002,
    "proximal_growth": 1,
    "round_patience": 3,
    "round_min_delta": 0.00001,
    "perturbation": 0,
    "memory_start_step": 1000,
}
PROXY_LOSSES = {
    "method": ("plain",),
    "learning_rate_multipliers": {"proxies": 100},
    "freeze_backbone_epochs": 1,
    "classes_per_batch": 32,
    "samples_per_class": 1,
}
DVML = {
    "method": ("dvml",),
    "learning_rate": 0.00007,
    "decoder_learning_rate": 0.01,
    "variational_samples": 20,
    "variational_hidden_units": 512,
    "first_phase_steps": 1000,
    "first_phase_weights": (1, 1, 0.1, 1),
    "second_phase_weights": (0.8, 1, 0.2, 0.8),
    "clustering": True,
}
CONVENTIONAL = {
    "validation": "test",
    "monitor": "precision_at_1",
    "embedding_size": 512,
    "pooling": "sum",
    "plateau_factor": 0.5,
    "plateau_min_delta": 0.001,
    "plateau_cooldown": 2,
    "min_learning_rate": 0.000001,
}


def dataset_flags(dataset):
    if dataset in SMALL_SETS:
        return {
            "dataset": dataset,
            "cache": "memory",
            "proxies_per_class": 8,
            "pool_size": 12,
            "steps_per_validation": 25,
            "max_steps": 100_000,
        }
    return {
        "dataset": dataset,
        "cache": "none",
        "proxies_per_class": 4,
        "pool_size": 7,
        "steps_per_validation": 250,
        "max_steps": 400_000,
    }


def named(names, values):
    return dict(zip(names.split(), values, strict=True))


def cells_of(dataset):
    """What each cell of a data set adds to MLRC, by the name of its flagfile."""
    column = COLUMNS.index(dataset)
    small_memory, large_memory = MEMORIES[column]
    triplet = {"loss": "triplet", "loss_params": {"margin": TRIPLET[column]}}
    pairwise = {
        "c1": {"loss": "cosine_contrastive", "loss_params": {"margin": 0.5}},
        "c2": {
            "loss": "contrastive",
            "loss_params": named("positive_margin negative_margin", CONTRASTIVE[column]),
        },
        "multi_similarity": {
            "loss": "multi_similarity",
            "loss_params": named("alpha beta base", MULTI_SIMILARITY[column]),
        },
        "triplet": triplet,
    }
    cells = {}
    for name, loss in pairwise.items():
        cells[name] = {"method": ("plain",), **loss}
        cells[f"{name}_ccp"] = {"method": ("ccp",), **loss}
    for name in ("c1", "c2"):
        memory = {"method": ("xbm",), **pairwise[name]}
        cells[f"{name}_xbm"] = {**memory, "memory_batches": large_memory}
        cells[f"{name}_xbm_small"] = {**memory, "memory_batches": small_memory}
    for name, loss_params in {
        "proxy_anchor": {"margin": 0.1, "alpha": 32},
        "proxy_nca": {"temperature": 0.1},
        "soft_triple": {
            **named("scale gamma tau margin", SOFT_TRIPLE[column]),
            "proxies_per_class": 10,
        },
    }.items():
        cells[name] = {**PROXY_LOSSES, "loss": name, "loss_params": loss_params}
    if dataset in DVML_SETS:
        cells["dvml_triplet"] = {
            **DVML,
            **triplet,
            "miner": "semi_hard",
            "miner_params": {"margin": TRIPLET[column]},
        }
        cells["dvml_n_pair"] = {**DVML, "loss": "n_pair", "loss_params": {"temperature": 0.1}}
    return cells


def conventional(dataset, backbone):
    """What the conventional protocol changes."""
    small = dataset in SMALL_SETS
    changes = {
        **CONVENTIONAL,
        "learning_rate": 0.00001 if small else 0.0001,
        "plateau_patience": 4 if small else 3,
        "patience": 15,
        "classes_per_batch": 32,
        "samples_per_class": 4,
    }
    if backbone == "resnet50":
        changes.update(backbone="resnet50", classes_per_batch=28, weight_decay=0.0004)
        if not small:
            changes["patience"] = 10
    return changes


BACKBONES = ("bn_inception", "resnet50")
# The cells of the conventional protocol that have a flagfile of their own.
CONVENTIONAL_CELLS = [
    loss + ccp
    for loss, ccp in itertools.product(
        ("c1", "c2", "multi_similarity", "triplet"),
        ("", "_ccp"),
    )
]


def runs():
    """What flagfiles that train something set."""
    table = {}
    for dataset in COLUMNS:
        base = {**MLRC, **dataset_flags(dataset)}
        for cell, added in cells_of(dataset).items():
            table[f"experiments/{dataset}/{cell}.flags"] = {**base, **added}
        for cell, backbone in itertools.product(CONVENTIONAL_CELLS, BACKBONES):
            table[f"experiments/{dataset}/conventional/{cell}_{backbone}.flags"] = {
                **base,
                **cells_of(dataset)[cell],
                **conventional(dataset, backbone),
            }
    return table


def parts():
    """What flagfiles set that others include, or that are given after others."""
    table = {
        "experiments/mlrc.flags": MLRC,
        "experiments/proxy_losses.flags": PROXY_LOSSES,
        "experiments/dvml.flags": DVML,
        "experiments/conventional.flags": CONVENTIONAL,
    }
    for dataset in COLUMNS:
        table[f"experiments/{dataset}/base.flags"] = {**MLRC, **dataset_flags(dataset)}
        for backbone in BACKBONES:
            path = f"experiments/{dataset}/conventional_{backbone}.flags"
            table[path] = conventional(dataset, backbone)
    return table


RUNS, PARTS = runs(), parts()


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def parsed(*arguments):
    flag_values = flags.FlagValues()
    main.define_flags(flag_values)
    flag_values(["ccp_dml", *arguments])
    return flag_values


def settings_of(*paths):
    return main.settings_from(parsed(*(f"--flagfile={path}" for path in paths)))


def lines_of(path):
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_no_flagfile_is_forgotten():
    assert set(FILES) == {*RUNS, *PARTS, *OWN}
    # (4 contrastive with and without CCP, 4 with a memory, 3 of proxies; DVML) x data sets.
    assert len([path for path in RUNS if "/conventional/" not in path]) == (8 + 4 + 3) * 4 + 2 * 3


@pytest.mark.parametrize("path", [*RUNS, *PARTS])
def test_a_flagfile_sets_the_values_of_the_paper_and_nothing_else(path):
    flag_values = parsed(f"--flagfile={path}")
    given = {name for name in flag_values if flag_values[name].present} - {"flagfile"}
    expected = RUNS.get(path) or PARTS[path]
    # A value that equals a default is given too, so that the file stays a record.
    assert given == expected.keys()
    assert dataclasses.asdict(main.settings_from(flag_values)) == {
        **dataclasses.asdict(Settings()),
        **expected,
    }


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("dataset", COLUMNS)
def test_the_conventional_protocol_after_any_cell(dataset, backbone):
    overlay = f"experiments/{dataset}/conventional_{backbone}.flags"
    for cell in cells_of(dataset):
        path = f"experiments/{dataset}/{cell}.flags"
        resolved = dataclasses.asdict(settings_of(path, overlay))
        expected = {**RUNS[path], **conventional(dataset, backbone)}
        assert {name: resolved[name] for name in expected} == expected


@pytest.mark.parametrize("path", FILES)
def test_nothing_is_given_twice(path):
    names = [line.split("=")[0] for line in lines_of(path) if not line.startswith("--flagfile=")]
    assert len(set(names)) == len(names)
    included = [line for line in lines_of(path) if line.startswith("--flagfile=")]
    assert len(set(included)) == len(included)
    # What is included comes first, so that the file's own lines hold.
    assert lines_of(path)[: len(included)] == included
    assert "--data_dir" not in names


@pytest.mark.parametrize("path", FILES)
def test_resolved_flags_can_be_passed_back(path, tmp_path):
    flag_values = parsed(f"--flagfile={path}", f"--workdir={tmp_path}")
    (tmp_path / "flags.txt").write_text(main.flagfile(flag_values))
    again = parsed(f"--flagfile={tmp_path / 'flags.txt'}")
    assert main.settings_from(again) == main.settings_from(flag_values)
    assert again.workdir == str(tmp_path)


def loss_choices():
    """Each combination of loss, wrapper and miner, with the first flagfile that has it."""
    keys = ("loss", "loss_params", "loss_wrapper", "miner", "miner_params")
    choices = {}
    for path, expected in RUNS.items():
        choices.setdefault(json.dumps([expected.get(key) for key in keys]), path)
    return choices.values()


@pytest.mark.parametrize("path", loss_choices())
def test_the_loss_can_be_made(path):
    settings = settings_of(path)
    loss = losses.get(settings.loss, **settings.loss_params)
    for name, value in settings.loss_params.items():
        assert getattr(loss, name) == value
    if settings.loss_wrapper != "none":
        loss = losses.get(settings.loss_wrapper, loss=loss, **settings.loss_wrapper_params)
    if settings.miner != "none":
        miner = miners.get(settings.miner, **settings.miner_params)
        assert losses.Mined(loss, miner).miner.get_config() == settings.miner_params
    # Every number is written in the flagfile, none is left to a default.
    assert set(settings.loss_params) == set(losses.parameters(settings.loss))


@pytest.mark.parametrize("path", [path for path in RUNS if "/conventional/" not in path])
def test_the_model_can_be_made(path):
    settings = settings_of(path)
    (method,) = settings.method
    network = EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=8)
    model = make_model(method, settings, network, num_classes=3)
    parts = {"ccp": ChanceConstrainedModel, "dvml": VariationalModel}
    expected = ProxyModel if settings.learning_rate_multipliers else MetricLearningModel
    assert type(model) is parts.get(method, expected)
    if method == "xbm":
        assert model.memory.num_batches == settings.memory_batches
        assert model.memory.batch_size == 8 * 4
    if expected is ProxyModel:
        (proxies,) = (weight for weight in model.weights if "proxies" in weight.path.split("/"))
        assert proxies.shape[0] == 3 * settings.loss_params.get("proxies_per_class", 1)


def test_describe_prints_the_resolved_settings_before_it_needs_data(tmp_path):
    path = "experiments/cub200_2011/c2_ccp.flags"
    process = subprocess.run(
        [sys.executable, "-m", "ccp_dml.main", "--mode=describe", f"--flagfile={path}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert process.returncode == 2
    assert "Traceback" not in process.stderr
    assert "data_dir is missing" in process.stderr.strip().splitlines()[-1]
    printed = tmp_path / "printed.flags"
    printed.write_text(process.stdout)
    assert settings_of(printed) == settings_of(path)
    shown = process.stdout.splitlines()
    assert "--dataset=cub200_2011" in shown
    assert "--loss_params=positive_margin=0.0,negative_margin=0.3841" in shown
    assert "--proximal_weight=0.0002" in shown


def test_another_folder_is_told_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flag_values = flags.FlagValues()
    main.define_flags(flag_values)
    monkeypatch.setattr(flags, "FLAGS", flag_values)
    with pytest.raises(SystemExit) as stopped:
        main._parse_flags(["ccp_dml", f"--flagfile={ROOT / 'experiments/sop/c2_ccp.flags'}"])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "'experiments/sop/base.flags'" in line
    assert "relative to the present folder" in line
