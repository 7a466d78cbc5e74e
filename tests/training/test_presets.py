"""Learning-rate schedules, presets and their overrides."""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch

from pldebias.data.sources import KNOWN, PATH_SOURCES
from pldebias.presets import PRESETS, SOURCES, Config, ConfigError, as_dict, resolve
from pldebias.settings import nearest, plain
from pldebias.training.loop import snapshot_epochs
from pldebias.training.schedules import lr_factor
from pldebias.training.state import differences, identity
from pldebias.training.sweep import sweep
from pldebias.training.train import configure, run_folder, train


def test_recorded_schedules(golden):
    arrays, _ = golden("daso_seval/lr_schedules")
    supervised = resolve("supervised", "cifar10-lt", learner="supervised")
    ours = [
        supervised.lr
        * lr_factor(int(i), supervised.steps, supervised.schedule, supervised.warmup, supervised.milestones, supervised.lr_decay)
        for i in arrays["in_iters_sup"]
    ]
    np.testing.assert_allclose(ours, arrays["out_supervised"], rtol=1e-9)
    aves = [0.005 * lr_factor(int(i), 45_000, "steps", 2500, (15_000, 30_000, 45_000), 0.1) for i in arrays["in_iters_aves"]]
    assert [float(f"{x:.6g}") for x in aves[:9]] == [float(f"{x:.6g}") for x in arrays["out_aves"][:9]]
    cosine = [0.03 * lr_factor(int(i), 250_000, "cosine") for i in arrays["in_iters_sup"]]
    np.testing.assert_allclose(cosine, arrays["out_fixcos"], rtol=1e-7)


def test_recorded_usb_cosine(golden):
    arrays, _ = golden("debiaspl_adello/usb_cosine_lr")
    ours = [lr_factor(int(i), 262_144, "cosine") for i in arrays["step"]]
    np.testing.assert_allclose(ours, arrays["factor"], rtol=1e-7)


def test_cosine_keeps_its_last_value_beyond_its_length():
    """The epoch in which a generation ends may be longer than the generation."""
    assert [lr_factor(step, 12, "cosine") for step in (13, 19)] == 2 * [lr_factor(12, 12, "cosine")]
    assert lr_factor(12, 12, "cosine") > 0 and lr_factor(3, 0, "cosine") == 1


def test_unknown_schedule():
    with pytest.raises(ValueError, match=r"'linear' is not known.*constant, cosine, steps"):
        lr_factor(0, 1, "linear")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_name_themselves_and_are_whole(name):
    config = resolve("fixmatch", name)
    assert config.data == name
    assert config.epochs * config.steps_per_epoch == config.steps


def test_published_protocol():
    config = resolve("fixmatch", "cifar10-lt")
    assert (config.lr, config.weight_decay, config.schedule, config.batch_size, config.mu, config.steps, config.ema) == (
        0.03, 5e-4, "constant", 64, 2, 250_000, 0.999,
    )  # fmt: skip
    assert resolve("supervised", "cifar10-lt", learner="supervised").lr == 0.1
    assert resolve("supervised", "cifar10-lt", learner="supervised", lr=0.2).lr == 0.2


def test_described_sources_are_those_there_are():
    assert {name.partition(":")[0] for name in SOURCES} == {*KNOWN, *PATH_SOURCES}


def test_none_keeps_the_preset_and_options_are_merged():
    config = resolve("fixmatch", "glyphs-lt", lr=None, options={"daso": {"T": 0.3}})
    assert config.lr == PRESETS["glyphs-lt"].lr
    assert config.options["daso"] == {**PRESETS["glyphs-lt"].options["daso"], "T": 0.3}
    assert "T" not in PRESETS["glyphs-lt"].options["daso"]
    assert as_dict(config)["milestones"] == []


def test_a_source_is_a_data_set():
    config = resolve("fixmatch", "parquet:/somewhere", n1=50)
    assert (config.source, config.data, config.n1) == ("parquet:/somewhere", "parquet:/somewhere", 50)


@pytest.mark.parametrize(
    ("data", "override", "message"),
    [
        ("glyph-lt", {}, "did you mean 'glyphs-lt'"),
        ("glyphs-lt", {"lrr": 1}, "did you mean 'lr'"),
        ("glyphs-lt", {"lr": -1}, r"lr=-1 must be positive"),
        ("glyphs-lt", {"steps": 30}, r"multiple of steps_per_epoch=20.*try steps=40"),
        ("glyphs-lt", {"precision": "fp16"}, "choose 'fp32', 'tf32' or 'bf16'"),
        ("glyphs-lt", {"optimizer": "lion"}, "optimizer='lion' is not known; choose 'sgd' or 'adam'"),
        ("glyphs-lt", {"schedule": "cos"}, "did you mean 'cosine'.*'constant', 'cosine' or 'steps'"),
        ("CIFAR10-LT", {}, "did you mean 'cifar10-lt'"),
        (["glyphs-lt"], {}, r"data=\['glyphs-lt'\]: give one preset"),
        ("glyphs-lt", {"mu": 0}, "mu=0 must be positive.*learner 'supervised'"),
        ("glyphs-lt", {"lr": np.nan}, "lr=nan: give a finite number"),
        ("glyphs-lt", {"lr": torch.tensor(np.inf)}, "lr=inf: give a finite number"),
        ("glyphs-lt", {"seed": True}, "seed=True: give a whole number"),
        ("glyphs-lt", {"seed": np.float32(2.5)}, "seed=2.5: give a whole number"),
        ("glyphs-lt", {"seed": [1, 2]}, "seed=.1, 2.: give a whole number"),
        ("glyphs-lt", {"nesterov": 1}, "nesterov=1: give True or False"),
        ("glyphs-lt", {"momentum": 0}, "nesterov=True needs momentum above 0"),
        ("glyphs-lt", {"milestones": [5, 3]}, r"milestones=\[5, 3\] must ascend"),
        ("glyphs-lt", {"class_order": "0,1,2"}, "give None or a list"),
        ("glyphs-lt", {"threads": 100_000}, r"threads=100000 must be in \[1, 1024\]: more than the machine has"),
        ("glyphs-lt", {"options": {"daso": {"T": np.nan}}}, r"options\['daso'\]\['T'\]=nan: give a finite number"),
        ("glyphs-lt", {"options": {"daso": [1]}}, "give a dict of options"),
    ],
)
def test_bad_settings_say_what_is_allowed(data, override, message):
    with pytest.raises(ConfigError, match=message):
        resolve("fixmatch", data, **override)


def test_snapshot_epochs_are_log_spaced_and_hold_both_ends():
    epochs = snapshot_epochs(500, 20)
    assert epochs[0] == 0
    assert epochs[-1] == 499
    assert len(epochs) <= 21
    assert np.diff(epochs)[-1] > np.diff(epochs)[0]
    assert snapshot_epochs(3, 20) == [0, 1, 2]
    assert snapshot_epochs(1, 5) == [0]
    assert snapshot_epochs(10, 0) == []


def test_config_is_frozen():
    with pytest.raises(AttributeError):
        Config().lr = 1


@pytest.mark.parametrize("three", [
    np.int8(3), np.uint64(3), np.float16(3), np.longdouble(3), np.array(3), np.array(3.0), torch.tensor(3, dtype=torch.uint8),
    torch.tensor(3, dtype=torch.bfloat16), pandas.Series([3]).iloc[0], 3.0, Decimal(3), Fraction(3),
], ids=lambda v: f"{type(v).__name__} {getattr(v, 'dtype', '')}")  # fmt: skip
def test_a_number_of_any_type_is_that_number(three):
    """And a run that was begun with it goes on with 3."""
    given = {name: three for name in ("seed", "n1", "lr", "mu", "gamma_l", "warmup", "snapshots", "threads")}
    config = resolve("fixmatch", data="glyphs-lt", options={"daso": {"T": three}}, milestones=[three], **given)
    usual = resolve("fixmatch", data="glyphs-lt", options={"daso": {"T": 3}}, milestones=(3,), **dict.fromkeys(given, 3))
    assert config == usual and {type(getattr(config, name)) for name in ("seed", "n1", "snapshots", "threads")} == {int}
    assert type(config.milestones[0]) is int
    assert not differences(identity(usual, "f"), identity(config, "f"))


@pytest.mark.parametrize("yes", [np.True_, np.array(True), torch.tensor(True)])
def test_truth_values_of_any_type(yes):
    assert resolve("fixmatch", nesterov=yes, graph=yes).nesterov is True


def test_sequences_and_paths_of_any_type():
    order = np.array(["b", "a"])
    assert resolve("fixmatch", class_order=order).class_order == ("b", "a")
    assert resolve("fixmatch", class_order=pandas.Index([1, 0])).class_order == (1, 0)
    assert resolve("fixmatch", milestones=torch.arange(1, 3)).milestones == resolve("fixmatch", milestones=range(1, 3)).milestones == (1, 2)
    assert resolve("fixmatch", root=Path("a"), device=torch.device("cpu")).root == "a"
    assert plain({"a": [np.float64(0.5), (np.bool_(True), "b", None)]}) == {"a": [0.5, (True, "b", None)]}


def test_trainings_differ_by_value_and_not_by_type():
    assert not differences({"mu": 2, "options": {"daso": {"T": [1, 0.5]}}}, {"mu": 2.0, "options": {"daso": {"T": (1.0, 0.5)}}})
    assert differences({"balanced": True}, {"balanced": 1.0}) == "balanced is True there, 1.0 here"


def test_the_nearest_names_are_told():
    assert nearest("FixMatch", ["fixmatch", "daso"]) == " (did you mean 'fixmatch'?)"
    assert nearest("fixmach", ["mixmatch", "fixmatch", "la"]) == " (did you mean 'fixmatch' or 'mixmatch'?)"
    assert nearest("zzz", ["la"]) == nearest(3, ["la"]) == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fixmach": {"threshold": 0.9}}, "'fixmach', which is no learner or scheme .did you mean 'fixmatch'"),
        ({"daso": {"t_proto": 0.1}}, "daso has no option 't_proto' .did you mean 'T_proto'"),
    ],
)
def test_options_of_what_there_is_not(options, message):
    with pytest.raises(ValueError, match=message):
        configure("fixmatch", options=options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": []}, "methods=.. is empty"),
        ({"seeds": np.array([], int)}, "seeds=.* is empty"),
        ({"seeds": "0,1"}, "seed='0,1': give a whole number"),
        ({"seeds": [0, -1]}, "seed=-1 must be in"),
        ({"seed": 1}, "a sweep takes seeds="),
        ({"jobs": 0.5}, "jobs=0.5 must be a whole number"),
        ({"progress": "no"}, "progress='no': give True or False"),
    ],
)
def test_a_sweep_is_refused_before_any_training(arguments, message, monkeypatch):
    monkeypatch.setitem(sweep.__globals__, "train", lambda **job: pytest.fail("trained"))
    with pytest.raises(ConfigError, match=message):
        sweep(**{"methods": ["fixmatch"], **arguments})


@pytest.mark.parametrize("seeds", [0, np.int64(0), [0], (0, 0.0), np.arange(1), range(1), torch.zeros(1, dtype=torch.int64), iter([0])])
def test_one_value_is_a_list_of_one(seeds, monkeypatch):
    """And what is named twice is trained once."""
    jobs = []
    monkeypatch.setitem(sweep.__globals__, "train", lambda **job: jobs.append((str(job["method"]), job["seed"])))
    assert len(sweep("fixmatch ", seeds=seeds)) == (2 if isinstance(seeds, tuple) else 1)
    assert jobs == [("fixmatch", 0)]


@pytest.mark.parametrize("argument", [{"overwrite": "no"}, {"overwrite": 1}, {"out": None}, {"out": 3}])
def test_an_argument_of_train_that_is_none(argument):
    with pytest.raises(ConfigError, match=next(iter(argument))):
        train("fixmatch", **argument)


def test_a_long_path_of_data_makes_a_short_folder():
    """Cut, one for each path, and the same every time."""
    long = "a_rather_long_name/" * 20
    folders = [run_folder("fixmatch", f"imagefolder:{long}{end}", 0) for end in "aab"]
    assert folders[0] == folders[1] != folders[2] and len(folders[0].parts[1]) <= 200
    assert run_folder("fixmatch", "imagefolder:photos/a b", 1).as_posix() == "runs/imagefolder_photos_a_b/fixmatch/s1"


def test_folders_are_shorter_on_windows(monkeypatch):
    monkeypatch.setattr("pldebias.paths.WINDOWS", True)
    folder = run_folder("fixmatch+daso(T=0.3,T_proto=0.05,queue=64,start=100,align=0.2,align_start=300)", "imagefolder:" + "x/" * 90, 0)
    assert len(str(folder)) < 160
