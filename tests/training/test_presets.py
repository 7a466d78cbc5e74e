"""Learning-rate schedules, presets and their overrides."""

import numpy as np
import pytest

from pldebias.data.sources import KNOWN, PATH_SOURCES
from pldebias.presets import PRESETS, SOURCES, Config, ConfigError, as_dict, resolve
from pldebias.training.loop import snapshot_epochs
from pldebias.training.schedules import lr_factor


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
        ("glyphs-lt", {"precision": "fp16"}, "fp32, tf32, bf16"),
        ("glyphs-lt", {"optimizer": "lion"}, "sgd, adam"),
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
