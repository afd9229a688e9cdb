"""The cells hold the paper's values, their flagfiles are those committed, and results are found."""

import dataclasses
import itertools
import pathlib

import pytest
from absl import flags

from ccp_dml import losses, miners
from ccp_dml.experiment import Settings, paper
from ccp_dml.experiment.flags import define_flags, settings_from
from ccp_dml.experiment.methods import make_loss, make_model
from ccp_dml.models import (
    ChanceConstrainedModel,
    EmbeddingModel,
    MetricLearningModel,
    ProxyModel,
    VariationalModel,
    small_convnet,
)

FOLDER = pathlib.Path(__file__).parents[2] / "experiments" / "paper"
COLUMNS = ("cub200_2011", "cars196", "inshop", "sop")
CELLS = [(dataset, name) for dataset in COLUMNS for name in paper.cells(dataset)]

# The paper's hyperparameters: cells, setting, then CUB, Cars196, In-Shop and SOP.
HYPERPARAMETERS = """
c1 c1_ccp c1_xbm            | margin            | .5    .5    .5    .5
c2 c2_ccp c2_xbm            | positive_margin   | 0     .2652 .2858 .2858
c2 c2_ccp c2_xbm            | negative_margin   | .3841 .5409 .5130 .5130
triplet triplet_ccp         | margin            | .0961 .1190 .0451 .0451
multi_similarity            | alpha             | 2     14.35 8.49  2
multi_similarity            | beta              | 40    75.83 57.38 40
multi_similarity            | base              | .5    .66   .41   .5
multi_similarity_ccp        | alpha             | 2     14.35 8.49  2
multi_similarity_ccp        | beta              | 40    75.83 57.38 40
multi_similarity_ccp        | base              | .5    .66   .41   .5
proxy_anchor                | margin            | .1    .1    .1    .1
proxy_anchor                | alpha             | 32    32    32    32
proxy_nca                   | temperature       | .1    .1    .1    .1
soft_triple                 | scale             | 20    17.69 20    100
soft_triple                 | gamma             | .1    19.18 .1    47.9
soft_triple                 | tau               | .2    .0669 .2    .2
soft_triple                 | margin            | .01   .3588 .01   .3145
soft_triple                 | proxies_per_class | 10    10    10    10
c1_xbm_small c2_xbm_small   | memory_batches    | 3     3     100   400
c1_xbm c2_xbm               | memory_batches    | 25    25    400   1400
c1_ccp c2_ccp triplet_ccp   | proxies_per_class | 8     8     4     4
c1_ccp c2_ccp triplet_ccp   | pool_size         | 12    12    7     7
c1_ccp c2_ccp triplet_ccp   | proximal_weight   | 2e-4  2e-4  2e-4  2e-4
c1 c2 c2_ccp soft_triple    | learning_rate     | 1e-5  1e-5  1e-5  1e-5
c1 c2_ccp c2_xbm proxy_nca  | weight_decay      | 1e-4  1e-4  1e-4  1e-4
c1 c2_ccp c2_xbm            | classes_per_batch | 8     8     8     8
c1 c2_ccp c2_xbm            | samples_per_class | 4     4     4     4
proxy_anchor proxy_nca      | classes_per_batch | 32    32    32    32
proxy_anchor proxy_nca      | samples_per_class | 1     1     1     1
proxy_anchor soft_triple    | proxies           | 100   100   100   100
c1 c2_ccp c2_xbm soft_triple| embedding_size    | 128   128   128   128
c1 c2_ccp c2_xbm soft_triple| num_folds         | 4     4     4     4
c1 c2_ccp c2_xbm soft_triple| patience          | 60    60    60    60
c1 c2_ccp c2_xbm soft_triple| steps_per_validation | 25 25    250   250
"""

# BN-Inception, then ResNet-50; the small data sets, then the large ones.
CONVENTIONAL = """
classes_per_batch | 32   32   28   28
samples_per_class | 4    4    4    4
learning_rate     | 1e-5 1e-4 1e-5 1e-4
plateau_patience  | 4    3    4    3
plateau_factor    | .5   .5   .5   .5
plateau_min_delta | 1e-3 1e-3 1e-3 1e-3
plateau_cooldown  | 2    2    2    2
min_learning_rate | 1e-6 1e-6 1e-6 1e-6
patience          | 15   15   15   10
embedding_size    | 512  512  512  512
weight_decay      | 1e-4 1e-4 4e-4 4e-4
"""


def rows_of(text):
    return [[part.split() for part in line.split("|")] for line in text.strip().splitlines()]


def settings_of(dataset, name):
    return Settings(**paper.cells(dataset)[name].settings)


def parse(*paths):
    """The parsed flags of flagfiles, and the names of those that they set."""
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    flag_values(["ccp_dml", *(f"--flagfile={path}" for path in paths)])
    given = {name for name in flag_values if flag_values[name].present} - {"flagfile"}
    return flag_values, given


def test_committed_flagfiles_are_the_generated_ones(tmp_path):
    paper.write_flagfiles(tmp_path)
    committed, generated = (
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in (FOLDER, tmp_path)
    )
    # To generate them again: python -m ccp_dml.experiment.paper --output=experiments/paper
    assert committed.keys() == generated.keys()
    assert committed == generated
    # (4 losses of pairs with and without CCP, 4 with a memory, 3 of proxies, 2 backbones of the
    # conventional protocol) x data sets; DVML.
    assert len(committed) == (8 + 4 + 3 + 2) * 4 + 2 * 3


@pytest.mark.parametrize(("names", "setting", "values"), rows_of(HYPERPARAMETERS))
def test_hyperparameters_are_the_papers(names, setting, values):
    for name, (dataset, value) in itertools.product(names, zip(COLUMNS, values, strict=True)):
        settings = settings_of(dataset, name)
        groups = {**dataclasses.asdict(settings), **settings.learning_rate_multipliers}
        assert {**groups, **settings.loss_params}[setting[0]] == float(value)


@pytest.mark.parametrize(("setting", "values"), rows_of(CONVENTIONAL))
def test_conventional_protocol_has_the_papers_values(setting, values):
    columns = itertools.product(("bn_inception", "resnet50"), (COLUMNS[:2], COLUMNS[2:]))
    for (backbone, sets), value in zip(columns, map(float, values), strict=True):
        for dataset in sets:
            changes = paper.conventional_settings(dataset, backbone)
            settings = dataclasses.replace(settings_of(dataset, "c2_ccp"), **changes)
            assert getattr(settings, setting[0]) == value
            assert settings.backbone == backbone
            assert settings.monitor == "precision_at_1"
            assert (settings.validation, settings.pooling) == ("test", "sum")


@pytest.mark.parametrize(("dataset", "name"), CELLS)
def test_a_flagfile_gives_the_settings_of_its_cell_from_any_folder(
    dataset, name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    settings = paper.cells(dataset)[name].settings
    path = FOLDER / dataset / f"{name}.flags"
    flag_values, given = parse(path)
    assert settings_from(flag_values) == Settings(**settings)
    # A value that equals a default is given too, so that the file stays a record.
    assert given == settings.keys()
    for backbone in paper.BACKBONES:
        changes = paper.conventional_settings(dataset, backbone)
        flag_values, given = parse(path, path.with_name(f"conventional_{backbone}.flags"))
        assert settings_from(flag_values) == Settings(**{**settings, **changes})
        assert given == settings.keys() | changes.keys()


@pytest.mark.parametrize(("dataset", "name"), CELLS)
def test_loss_and_model_of_a_cell_can_be_made(dataset, name):
    settings = settings_of(dataset, name)
    loss = make_loss(settings)
    if settings.miner != "none":
        assert isinstance(loss.miner, miners.MINERS[settings.miner])
        assert loss.miner.get_config() == settings.miner_params
        loss = loss.loss
    assert {name: getattr(loss, name) for name in settings.loss_params} == settings.loss_params
    # None is left to a default.
    numbers = set(losses.parameters(settings.loss)) - set(losses.word_parameters(settings.loss))
    assert set(settings.loss_params) == numbers
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


def test_describe_prints_the_resolved_settings_before_it_needs_data(run_command, capsys, tmp_path):
    path = FOLDER / "cub200_2011" / "c2_ccp.flags"
    with pytest.raises(SystemExit) as stopped:
        run_command("--mode=describe", f"--flagfile={path}")
    assert stopped.value.code == 2
    output, errors = capsys.readouterr()
    assert "data_dir is missing" in errors.strip().splitlines()[-1]
    printed = tmp_path / "printed.flags"
    printed.write_text(output)
    assert settings_from(parse(printed)[0]) == settings_of("cub200_2011", "c2_ccp")
    shown = output.splitlines()
    assert "--dataset=cub200_2011" in shown
    assert "--loss_params=positive_margin=0.0,negative_margin=0.3841" in shown
    assert "--proximal_weight=0.0002" in shown


def test_unknown_names():
    with pytest.raises(ValueError, match=r"dataset must be one of cub200_2011, .*; got 'cub'"):
        paper.cells("cub")
    with pytest.raises(ValueError, match=r"cell must be one of c1, .*; got 'dvml_triplet'"):
        paper.flagfile("inshop", "dvml_triplet")
    with pytest.raises(ValueError, match=r"backbone must be one of .*; got 'resnet'"):
        paper.conventional_flagfile("sop", "resnet")


def test_the_command_prints_a_flagfile(capsys):
    paper.main(["cub200_2011/c2_ccp"])
    assert capsys.readouterr().out == (FOLDER / "cub200_2011" / "c2_ccp.flags").read_text()
    paper.main(["sop/conventional_resnet50"])
    assert capsys.readouterr().out == (FOLDER / "sop" / "conventional_resnet50.flags").read_text()
    paper.main([])
    names = capsys.readouterr().out.splitlines()
    assert sorted(names) == sorted(
        str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.flags")
    )


@pytest.mark.parametrize(
    ("name", "choices"), [("sop/c3", "there are sop/c1, sop/c1_ccp, "), ("c2", "cub200_2011/c1, ")]
)
def test_the_command_says_which_names_there_are(name, choices, capsys):
    with pytest.raises(SystemExit) as stopped:
        paper.main([name])
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert f"no flagfile {name!r}" in line
    assert choices in line
    assert not printed.out


def test_the_command_writes_flagfiles(tmp_path, capsys):
    paper.main([f"--output={tmp_path / 'new'}"])
    assert len(list((tmp_path / "new").rglob("*.flags"))) == len(list(FOLDER.rglob("*.flags")))
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stopped:
        paper.main([f"--output={tmp_path / 'file'}"])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "file cannot be written to" in line
