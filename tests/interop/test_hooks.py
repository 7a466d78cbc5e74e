"""The recorder in other people's loops: the real Lightning, USB's protocol of hooks, plain arrays."""

import sys
import warnings
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from pldebias.interop import hooks
from pldebias.interop.lightning import lightning_callback
from pldebias.interop.usb import usb_hook
from pldebias.runs import Recorder, open_run

N, K, BATCH = 24, 3, 8
TRUTH = np.arange(N) % K
NAMES = ("a", "b", "c")


def recorder_at(path, **options):
    return Recorder(path, TRUTH, [8, 4, 2], NAMES, **options)


# ---- Lightning -----------------------------------------------------------------------------------------------------------

# Lightning's own hints about loaders and accelerators are not ours to keep silent by settings.
lightning_warns = pytest.mark.filterwarnings("ignore")


def module_and_loader(returns=None, fail_at=None):
    import lightning.pytorch as lightning

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, K)
            self.seen = []

        def training_step(self, batch, number):
            x, index = batch
            if fail_at is not None and self.global_step == fail_at:
                raise RuntimeError("the power went off")
            logits = self.layer(x)
            confidence, label = logits.detach().softmax(1).max(1)
            accepted = confidence > 0.4
            self.seen.append((index.clone(), label.clone(), accepted.clone()))
            loss = logits.square().mean()
            self.log("train/loss", loss)
            return {"loss": loss, "pseudo_labels": (index, label, accepted)} if returns is None else returns(loss)

        def validation_step(self, batch, number):
            self.log("val_accuracy", 0.25)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    torch.manual_seed(0)
    data = torch.utils.data.TensorDataset(torch.randn(N, 4), torch.arange(N))
    return Module(), torch.utils.data.DataLoader(data, BATCH, shuffle=True)


def trainer(callback, **options):
    import lightning.pytorch as lightning

    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    return lightning.Trainer(accelerator="cpu", callbacks=callback, **quiet | options)


@lightning_warns
def test_lightning(tmp_path):
    module, loader = module_and_loader()

    def epoch_end(trainer, module):
        with torch.no_grad():
            label = module.layer(loader.dataset.tensors[0]).argmax(1)
        return {"sweep": (label, torch.ones(N, dtype=torch.bool)), "scalars": {"mine": 1.5}}

    callback = lightning_callback(recorder_at(tmp_path / "run"), epoch_end=epoch_end)
    trainer(callback, max_epochs=3, num_sanity_val_steps=1).fit(module, loader, loader)
    run = open_run(tmp_path / "run")
    assert run.finished and run.epochs.tolist() == [0, 1, 2] and run.iterations.tolist() == [3, 6, 9] and run.kinds == ("visits", "sweep")
    expected = np.zeros((3, K, K), int)
    accepted = np.zeros((3, K, K), int)
    for step, (index, label, used) in enumerate(module.seen):
        np.add.at(expected[step // 3], (TRUTH[index], label), 1)
        np.add.at(accepted[step // 3], (TRUTH[index[used]], label[used]), 1)
    np.testing.assert_array_equal(run.confusion("visits"), expected)
    np.testing.assert_array_equal(run.confusion("visits", "accepted"), accepted)
    assert (
        run.scalars["val_accuracy"].tolist() == [0.25] * 3 and (run.scalars["train/loss"] > 0).all() and (run.scalars["mine"] == 1.5).all()
    )


@lightning_warns
def test_lightning_without_the_triple_says_what_to_return(tmp_path):
    module, loader = module_and_loader(returns=lambda loss: {"loss": loss, "other": 1})
    with pytest.raises(ValueError, match=r"must return a dict with 'loss' and 'pseudo_labels': .*; it returned loss, other"):
        trainer(lightning_callback(recorder_at(tmp_path / "a")), max_epochs=1).fit(module, loader)
    module, loader = module_and_loader(returns=lambda loss: loss)
    with pytest.raises(ValueError, match="must return a dict"):
        trainer(lightning_callback(recorder_at(tmp_path / "b")), max_epochs=1).fit(module, loader)


@lightning_warns
def test_lightning_interrupted_and_resumed(tmp_path):
    module, loader = module_and_loader(fail_at=4)
    with pytest.raises(RuntimeError, match="power"):
        trainer(lightning_callback(recorder_at(tmp_path / "run", num_epochs=3)), max_epochs=3).fit(module, loader)
    run = open_run(tmp_path / "run")
    assert not run.finished and run.epochs.tolist() == [0]
    module, loader = module_and_loader()
    # Lightning has no checkpoint here, so it starts at epoch 0, and so does the record.
    trainer(lightning_callback(recorder_at(tmp_path / "run", num_epochs=3, resume=True)), max_epochs=3).fit(module, loader)
    assert run.refresh().finished and run.epochs.tolist() == [0, 1, 2]


def partial_warnings(told):
    return [str(w.message) for w in told if "recorded" in str(w.message) and "a part of it" in str(w.message)]


@lightning_warns
@pytest.mark.parametrize("kept", [True, False], ids=["state in the checkpoint", "no state"])
def test_lightning_resumed_in_the_middle_of_an_epoch(tmp_path, kept):
    """The counts go on from the checkpoint; without them it is said, and marked, that they are those of a part."""
    from lightning.pytorch.callbacks import ModelCheckpoint

    keep = {"every_n_train_steps": 1, "save_top_k": -1, "filename": "{step}"}

    def fit(recorder, epochs, checkpoint=None):
        module, loader = module_and_loader()
        callbacks = [lightning_callback(recorder), ModelCheckpoint(dirpath=tmp_path / "ckpt", **keep)]
        trainer(callbacks, max_epochs=epochs, enable_checkpointing=True).fit(module, loader, ckpt_path=checkpoint)

    fit(recorder_at(tmp_path / "run", num_epochs=3), 1)
    middle = tmp_path / "ckpt" / "step=2.ckpt"
    if not kept:
        saved = torch.load(middle, weights_only=False)
        saved["callbacks"] = {name: state for name, state in saved["callbacks"].items() if "pldebias" not in name}
        torch.save(saved, middle)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fit(recorder_at(tmp_path / "run", num_epochs=3, resume=True), 3, middle)
    run = open_run(tmp_path / "run")
    assert run.confusion("visits").sum((1, 2)).tolist() == [N if kept else BATCH, N, N] and run.iterations.tolist() == [3, 6, 9]
    assert partial_warnings(told) == ([] if kept else ["epoch 0: 1 of 3 steps were recorded, so its visits are those of a part of it"])
    assert kept or run.scalars["recorded_steps"].isna().tolist() == [False, True, True]


@lightning_warns
@pytest.mark.parametrize("skipped", [False, True])
def test_lightning_with_gradients_of_several_batches(tmp_path, skipped):
    """Resumed in the middle of an epoch, for another number of epochs; an iteration is a step of the optimiser."""
    from lightning.pytorch.callbacks import ModelCheckpoint

    def fit(recorder, epochs, checkpoint=None):
        module, loader = module_and_loader()
        if skipped:
            step = type(module).training_step
            type(module).training_step = lambda self, batch, number: None if number == 1 else step(self, batch, number)
        callbacks = [
            lightning_callback(recorder),
            ModelCheckpoint(dirpath=tmp_path, every_n_train_steps=1, save_top_k=-1, filename="{step}"),
        ]
        trainer(callbacks, max_epochs=epochs, enable_checkpointing=True, accumulate_grad_batches=2).fit(
            module, loader, ckpt_path=checkpoint
        )

    fit(recorder_at(tmp_path / "run", num_epochs=2), 2)
    whole = open_run(tmp_path / "run")
    assert whole.finished and whole.iterations.tolist() == [2, 4]
    fit(recorder_at(tmp_path / "run", num_epochs=4, resume=True), 4, tmp_path / "step=3.ckpt")
    run = open_run(tmp_path / "run")
    seen = N - skipped * BATCH
    assert run.finished and run.iterations.tolist() == [2, 4, 6, 8] and run.confusion("visits").sum((1, 2)).tolist() == [seen] * 4
    assert "recorded_steps" not in run.scalars


@lightning_warns
def test_lightning_stopped_in_the_middle_of_an_epoch(tmp_path):
    module, loader = module_and_loader()
    with pytest.warns(RuntimeWarning, match="epoch 1: 1 of 3 steps were recorded"):
        trainer(lightning_callback(recorder_at(tmp_path / "run")), max_steps=4).fit(module, loader)
    assert open_run(tmp_path / "run").scalars["recorded_steps"].tolist()[1] == 1


@lightning_warns
def test_lightning_skips_and_late_values(tmp_path):
    """Steps that return None are passed over, and what a module logs at the very end of an epoch belongs to it."""
    module, loader = module_and_loader()
    kind = type(module)
    step = kind.training_step
    kind.training_step = lambda self, batch, number: None if number == 1 else step(self, batch, number)
    kind.on_train_epoch_end = lambda self: self.log_dict({"late": 10.0 * self.current_epoch, "epoch": 1.0 + self.current_epoch})
    trainer(lightning_callback(recorder_at(tmp_path / "run")), max_epochs=3).fit(module, loader)
    run = open_run(tmp_path / "run")
    assert run.confusion("visits").sum((1, 2)).tolist() == [2 * BATCH] * 3
    assert run.scalars["late"].tolist() == [0, 10, 20] and run.scalars["logged/epoch"].tolist() == [1, 2, 3]
    assert "on_train_epoch_end" not in vars(module)
    assert "recorded_steps" not in run.scalars


@lightning_warns
def test_lightning_without_any_label_is_told(tmp_path):
    module, loader = module_and_loader()
    type(module).training_step = lambda self, batch, number: None
    with pytest.warns(RuntimeWarning, match="no step of epoch 0 returned 'pseudo_labels'"):
        trainer(lightning_callback(recorder_at(tmp_path / "run")), max_epochs=1).fit(module, loader)
    assert open_run(tmp_path / "run").epochs.tolist() == [0]


@lightning_warns
def test_lightning_that_starts_over_says_what_it_replaces(tmp_path):
    module, loader = module_and_loader()
    trainer(lightning_callback(recorder_at(tmp_path / "run", num_epochs=2)), max_epochs=2).fit(module, loader)
    again = trainer(lightning_callback(recorder_at(tmp_path / "run", num_epochs=2, resume=True)), max_epochs=2)
    with pytest.warns(RuntimeWarning, match=r"goes on at epoch 0, so the recorded epochs 0\.\.1 are replaced"):
        again.fit(module, loader)


@lightning_warns
def test_lightning_values_of_earlier_epochs_are_not_recorded_again(tmp_path):
    """Lightning keeps the last value of what was logged for as long as the training lasts."""
    module, loader = module_and_loader()

    class Sometimes(type(module)):
        def validation_step(self, batch, batch_idx):
            self.log("every_second", float(self.current_epoch))

        def val_dataloader(self):
            return loader

        def on_train_epoch_end(self):
            self.log("always", float(self.current_epoch))
            if self.current_epoch in (0, 3):
                self.log("now_and_then", float(self.current_epoch))

    callback = lightning_callback(recorder_at(tmp_path / "run"))
    trainer(callback, max_epochs=5, check_val_every_n_epoch=2, num_sanity_val_steps=1).fit(Sometimes(), loader)
    found = open_run(tmp_path / "run").scalars
    np.testing.assert_array_equal(found["always"], range(5))
    np.testing.assert_array_equal(found["every_second"], [np.nan, 1, np.nan, 3, np.nan])
    np.testing.assert_array_equal(found["now_and_then"], [0, np.nan, np.nan, 3, np.nan])


def test_wrong_arguments_of_an_adapter_are_refused_at_once(tmp_path):
    recorder = recorder_at(tmp_path / "run")
    for wrong in (None, "runs/x", 3):
        with pytest.raises(ValueError, match=r"must be a pldebias\.Recorder"):
            lightning_callback(wrong)
    for options in ({"key": 3}, {"epoch_end": 3}):
        with pytest.raises(ValueError, match=next(iter(options))):
            lightning_callback(recorder, **options)
    for wrong in ({"nope": 1}, [1], 3):
        with pytest.raises(ValueError, match=r"epoch_end must return a dict of arguments of Recorder\.end_epoch"):
            hooks.end(recorder, 0, {}, wrong, 0, 0)
    recorder.close()
    with pytest.raises(ValueError, match="is closed"):
        lightning_callback(recorder)


@lightning_warns
def test_two_recorders_in_one_lightning_training(tmp_path):
    module, loader = module_and_loader()
    both = [lightning_callback(recorder_at(tmp_path / name)) for name in "ab"]
    trainer(both, max_epochs=1).fit(module, loader)
    a, b = (open_run(tmp_path / name) for name in "ab")
    assert a.confusion("visits").sum() == N and (a.confusion("visits") == b.confusion("visits")).all()


def test_a_recorder_that_comes_late(usb, tmp_path):
    """Its first epoch has the training's number, and it is said which are missing."""
    callback = lightning_callback(recorder_at(tmp_path / "lightning", num_epochs=10))
    now = SimpleNamespace(current_epoch=5, world_size=1, global_step=60, callback_metrics={})
    with pytest.warns(RuntimeWarning, match=r"goes on at epoch 5, so the epochs 0..4 are missing"):
        callback.on_train_start(now, None)
    callback.on_train_epoch_end(now, None)
    callback.on_fit_end(now, None)
    algorithm = Algorithm()
    algorithm.start_epoch, algorithm.epochs, algorithm.it = 5, 6, 15
    algorithm.register_hook(usb_hook(recorder_at(tmp_path / "usb", num_epochs=10)), "RecorderHook", "LOWEST")
    with pytest.warns(RuntimeWarning, match=r"goes on at epoch 5, so the epochs 0..4 are missing"):
        algorithm.train(usb_batches())
    for name, steps in (("lightning", 60), ("usb", 18)):
        run = open_run(tmp_path / name)
        assert run.epochs.tolist() == [5] and run.iterations.tolist() == [steps]


def test_usb_stopped_in_the_middle_of_an_epoch(usb, tmp_path):
    algorithm = Algorithm()
    algorithm.epochs, algorithm.loader_dict = 1, {"train_lb": range(5), "train_ulb": range(7), "eval": None}
    algorithm.register_hook(usb_hook(recorder_at(tmp_path / "run")), "RecorderHook", "LOWEST")
    with pytest.warns(RuntimeWarning, match="epoch 0: 3 of 5 steps were recorded"):
        algorithm.train(usb_batches())
    assert open_run(tmp_path / "run").scalars["recorded_steps"].tolist() == [3]


def test_usb_counts_anew_in_every_generation(usb, tmp_path):
    algorithm, hook = Algorithm(), usb_hook(recorder_at(tmp_path / "run"))
    algorithm.register_hook(hook, "RecorderHook", "LOWEST")
    end, hook.after_run = hook.after_run, lambda algorithm: None
    for _ in range(2):
        algorithm.it = 0
        algorithm.train(usb_batches())
    end(algorithm)
    assert open_run(tmp_path / "run").iterations.tolist() == [3, 6, 9, 12]


def test_several_processes_are_refused(tmp_path):
    callback = lightning_callback(recorder_at(tmp_path / "run"))
    with pytest.raises(ValueError, match="this trainer has 2"):
        callback.on_fit_start(SimpleNamespace(world_size=2), None)


# ---- USB ------------------------------------------------------------------------------------------------------------------


class Hook:
    """USB's base class of hooks (semilearn 0.3.2, core/hooks/hook.py)."""

    def before_run(self, algorithm):
        pass

    before_train_epoch = before_train_step = after_train_step = after_train_epoch = after_run = before_run


class PseudoLabelingHook(Hook):
    def gen_ulb_targets(self, algorithm, logits, use_hard_label=True):
        return logits.argmax(1) if use_hard_label else logits


class MaskingHook(Hook):
    def masking(self, algorithm, logits_x_ulb):
        return (logits_x_ulb.amax(1) > 0.5).float()


class Algorithm:
    """What hooks see of USB's ``AlgorithmBase`` (core/algorithmbase.py): its loop, hooks, ``process_batch``, and FixMatch's step."""

    distributed, world_size = False, 1

    def __init__(self, soft=False, hooks=(PseudoLabelingHook, MaskingHook), labelled_too=False, silent_epoch=None):
        self.it, self.epochs, self.start_epoch, self.log_dict, self._hooks, self.hooks_dict = 0, 2, 0, {}, [], {}
        self.soft, self.labelled_too, self.silent_epoch = soft, labelled_too, silent_epoch
        for hook in hooks:
            self.register_hook(hook())

    def register_hook(self, hook, name=None, priority="NORMAL"):
        assert isinstance(hook, Hook)
        if hasattr(hook, "priority"):
            raise ValueError('"priority" is a reserved attribute for hooks')
        hook.priority, hook.name = {"NORMAL": 50, "LOWEST": 100}[priority], name or type(hook).__name__
        self._hooks = sorted([*self._hooks, hook], key=lambda hook: hook.priority)
        self.hooks_dict = {hook.name: hook for hook in self._hooks}

    def call_hook(self, function, name=None, *args, **kwargs):
        if name is not None:
            return getattr(self.hooks_dict[name], function)(self, *args, **kwargs)
        for hook in self.hooks_dict.values():
            if hasattr(hook, function):
                getattr(hook, function)(self, *args, **kwargs)
        return None

    def process_batch(self, input_args=None, **batch):
        return {name: value for name, value in batch.items() if name != "idx_ulb"}  # as for a step that does not ask for it

    def train_step(self, x_ulb_w):
        if self.epoch == self.silent_epoch:
            return {"loss": 0}, {}
        mask = self.call_hook("masking", "MaskingHook", logits_x_ulb=x_ulb_w)
        label = self.call_hook("gen_ulb_targets", "PseudoLabelingHook", logits=x_ulb_w, use_hard_label=not self.soft)
        if self.labelled_too:  # DeFixMatch
            self.call_hook("masking", "MaskingHook", logits_x_ulb=x_ulb_w[:2])
            self.call_hook("gen_ulb_targets", "PseudoLabelingHook", logits=x_ulb_w[:2])
        return {"loss": 0}, {"train/util_ratio": mask.mean(), "train/prefetch": "n/a", "lr": 0.03 if label is not None else 0}

    def train(self, batches):
        self.call_hook("before_run")
        for epoch in range(self.start_epoch, self.epochs):
            self.epoch = epoch
            self.call_hook("before_train_epoch")
            for batch in batches:
                self.call_hook("before_train_step")
                self.out_dict, self.log_dict = self.train_step(**self.process_batch(**batch))
                self.call_hook("after_train_step")
                self.it += 1
            self.call_hook("after_train_epoch")
        self.call_hook("after_run")


@pytest.fixture
def usb(monkeypatch):
    """The package semilearn, as far as the hook needs it; the real one brings a dozen large packages and trains on CUDA alone."""
    for name in ("semilearn", "semilearn.core"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    module = ModuleType("semilearn.core.hooks")
    module.Hook = Hook
    monkeypatch.setitem(sys.modules, "semilearn.core.hooks", module)


def usb_batches():
    r = torch.Generator().manual_seed(0)
    return [{"idx_ulb": torch.arange(i, N, 3), "x_ulb_w": torch.rand(N // 3, K, generator=r)} for i in range(3)]


@pytest.mark.parametrize("options", [{}, {"soft": True}, {"labelled_too": True}], ids=["hard", "soft", "asked twice"])
def test_usb(usb, tmp_path, options):
    batches, algorithm = usb_batches(), Algorithm(**options)
    hook = usb_hook(recorder_at(tmp_path / "run"), epoch_end=lambda a: {"test": (TRUTH, TRUTH)})
    algorithm.register_hook(hook, "RecorderHook", "LOWEST")
    algorithm.train(batches)
    expected, accepted = np.zeros((K, K), int), np.zeros((K, K), int)
    for batch in batches:
        label, used = batch["x_ulb_w"].argmax(1), batch["x_ulb_w"].amax(1) > 0.5
        np.add.at(expected, (TRUTH[batch["idx_ulb"]], label), 1)
        np.add.at(accepted, (TRUTH[batch["idx_ulb"][used]], label[used]), 1)
    run = open_run(tmp_path / "run")
    assert run.finished and run.iterations.tolist() == [3, 6] and set(run.scalars) == {"train/util_ratio", "lr"}
    for epoch in (0, 1):
        np.testing.assert_array_equal(run.confusion("visits", epoch=epoch), expected)
        np.testing.assert_array_equal(run.confusion("visits", "accepted", epoch=epoch), accepted)
    assert np.trace(run.confusion("test", epoch=-1)) == N


def test_usb_resumed(usb, tmp_path):
    """From a checkpoint of its own, one epoch behind the log; a second generation begins no second record."""
    for start in (0, 1):
        algorithm = Algorithm()
        algorithm.start_epoch, algorithm.it = start, 3 * start
        algorithm.register_hook(usb_hook(recorder_at(tmp_path / "run", num_epochs=2, resume=start > 0)), "RecorderHook", "LOWEST")
        with pytest.warns(RuntimeWarning, match=r"epochs 1\.\.1 are replaced") if start else nullcontext():
            algorithm.call_hook("before_run")
        algorithm.train(usb_batches())
    run = open_run(tmp_path / "run")
    assert run.finished and run.iterations.tolist() == [3, 6] and run.confusion("visits").sum((1, 2)).tolist() == [N, N]


def test_usb_says_what_is_missing(usb, tmp_path):
    def run(where, algorithm, batches=()):
        algorithm.register_hook(usb_hook(recorder_at(tmp_path / where)), "RecorderHook")
        algorithm.train(batches)

    with pytest.raises(ValueError, match="Algorithm has no PseudoLabelingHook"):
        run("a", Algorithm(hooks=(MaskingHook,)))
    with pytest.raises(ValueError, match="no idx_ulb"):
        run("b", Algorithm(), [{"x_ulb_w": torch.rand(4, K)}])
    with pytest.warns(RuntimeWarning, match="made no pseudo-labels in epoch 1 through its hooks"):
        run("c", Algorithm(silent_epoch=1), usb_batches())
    several = Algorithm()
    several.distributed, several.world_size = True, 2
    with pytest.raises(ValueError, match="this algorithm has 2"):
        run("d", several)


def test_without_usb_the_message_says_so(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "semilearn", None)
    with recorder_at(tmp_path / "run") as recorder, pytest.raises(ImportError, match="the package semilearn"):
        usb_hook(recorder)


# ---- several recorders, plain arrays ----------------------------------------------------------------------------------------


class Foreign:
    """An array of another framework, such as TensorFlow's eager tensors (Keras) and JAX's arrays: numpy can read it."""

    def __init__(self, values, dtype):
        self.values = np.asarray(values, dtype)
        self.values.flags.writeable = False  # as JAX gives them

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype)

    def __float__(self):
        return float(self.values)


def test_arrays_of_other_frameworks(tmp_path):
    """What a Keras or JAX loop hands over: 32-bit labels, masks of floats, read-only memory, scalars that are arrays."""
    r = np.random.default_rng(0)
    steps = [(r.integers(0, N, BATCH), r.integers(0, K, BATCH), r.random(BATCH) > 0.5) for _ in range(6)]
    logits, label = r.normal(size=(N, K)), r.integers(0, K, N)
    with recorder_at(tmp_path / "run") as recorder:
        for index, given, accepted in steps:
            recorder.update(index, Foreign(given, np.int32), Foreign(accepted, np.float32))
        recorder.end_epoch(
            scalars={"loss": Foreign(0.5, np.float32)},
            sweep=(Foreign(label, np.int32), Foreign(label == TRUTH, bool)),
            test=(Foreign(TRUTH, np.int32), Foreign(label, np.int32)),
            logits=Foreign(logits, np.float32),
        )
    run = open_run(tmp_path / "run")
    expected = np.zeros((2, K, K), int)
    for index, given, accepted in steps:
        np.add.at(expected[0], (TRUTH[index], given), 1)
        np.add.at(expected[1], (TRUTH[index[accepted]], given[accepted]), 1)
    np.testing.assert_array_equal(run.confusion("visits", epoch=0), expected[0])
    np.testing.assert_array_equal(run.confusion("visits", "accepted", epoch=0), expected[1])
    np.testing.assert_array_equal(run.history(0)[0], label)
    np.testing.assert_array_equal(run.logits(0), logits.astype(np.float32).astype(np.float16).astype(np.float32))
    assert run.scalars["loss"].tolist() == [0.5] and run.confusion("test", epoch=0).sum() == N


def test_two_recorders_in_one_process_with_numpy(tmp_path):
    """Numpy arrays in, two runs at once, one of them without known labels."""
    with recorder_at(tmp_path / "a") as a, Recorder(tmp_path / "b", None, [8, 4, 2], NAMES, num_unlabelled=N) as b:
        for epoch in range(2):
            for recorder in (a, b):
                recorder.update(np.arange(N), TRUTH[::-1].copy(), np.arange(N) < 12)
                recorder.end_epoch(scalars={"loss": epoch})
    first, second = open_run(tmp_path / "a"), open_run(tmp_path / "b")
    assert first.confusion("visits", epoch=-1).sum() == N and second.unlabelled_counts is None
    np.testing.assert_array_equal(second.pseudo_counts("visits", epoch=-1), first.pseudo_counts("visits", epoch=-1))
