"""The recorder in other people's loops: the real Lightning, USB's protocol of hooks, plain numpy."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pldebias.runs import Recorder, open_run
from pldebias.runs.adapters import USBHook, lightning_callback

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
    return lightning.Trainer(accelerator="cpu", callbacks=[callback], **quiet, **options)


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


def test_several_processes_are_refused(tmp_path):
    callback = lightning_callback(recorder_at(tmp_path / "run"))
    with pytest.raises(ValueError, match="this trainer has 2"):
        callback.on_fit_start(SimpleNamespace(world_size=2), None)


# ---- USB ------------------------------------------------------------------------------------------------------------------


class Algorithm:
    """The part of USB's ``AlgorithmBase`` that hooks see: its loop, ``call_hook``, ``process_batch`` and FixMatch's step."""

    def __init__(self, soft=False, names=("PseudoLabelingHook", "MaskingHook")):
        self.it, self.epochs, self.log_dict, self.soft, self.hooks_dict = 0, 2, {}, soft, {}
        made = {
            "PseudoLabelingHook": SimpleNamespace(gen_ulb_targets=lambda algorithm, logits: logits if self.soft else logits.argmax(1)),
            "MaskingHook": SimpleNamespace(masking=lambda algorithm, logits: (logits.amax(1) > 0.5).float()),
        }
        for name in names:
            self.register_hook(made[name], name)

    def register_hook(self, hook, name=None, priority="NORMAL"):
        self.hooks_dict[name or type(hook).__name__] = hook

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
        mask = self.call_hook("masking", "MaskingHook", x_ulb_w)
        label = self.call_hook("gen_ulb_targets", "PseudoLabelingHook", logits=x_ulb_w)
        return {"loss": 0}, {"train/util_ratio": mask.mean(), "train/prefetch": "n/a", "lr": 0.03 if label is not None else 0}

    def train(self, batches):
        self.call_hook("before_run")
        for _ in range(self.epochs):
            self.call_hook("before_train_epoch")
            for batch in batches:
                self.call_hook("before_train_step")
                self.out_dict, self.log_dict = self.train_step(**self.process_batch(**batch))
                self.call_hook("after_train_step")
                self.it += 1
            self.call_hook("after_train_epoch")
        self.call_hook("after_run")


@pytest.mark.parametrize("soft", [False, True])
def test_usb(tmp_path, soft):
    r = torch.Generator().manual_seed(0)
    batches = [{"idx_ulb": torch.arange(i, N, 3), "x_ulb_w": torch.rand(N // 3, K, generator=r)} for i in range(3)]
    algorithm = Algorithm(soft)
    algorithm.register_hook(USBHook(recorder_at(tmp_path / "run"), lambda a: {"test": (TRUTH, TRUTH)}), "RecorderHook")
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


def test_usb_says_what_is_missing(tmp_path):
    algorithm = Algorithm(names=("MaskingHook",))
    algorithm.register_hook(USBHook(recorder_at(tmp_path / "a")), "RecorderHook")
    with pytest.raises(ValueError, match="Algorithm has no PseudoLabelingHook"):
        algorithm.train([])
    algorithm = Algorithm()
    algorithm.register_hook(USBHook(recorder_at(tmp_path / "b")), "RecorderHook")
    with pytest.raises(ValueError, match="no idx_ulb"):
        algorithm.train([{"x_ulb_w": torch.rand(4, K)}])


# ---- several recorders, plain arrays ----------------------------------------------------------------------------------------


def test_two_recorders_in_one_process_with_numpy(tmp_path):
    """As a Keras or JAX loop would: numpy arrays in, two runs at once, one of them without known labels."""
    with recorder_at(tmp_path / "a") as a, Recorder(tmp_path / "b", None, [8, 4, 2], NAMES, num_unlabelled=N) as b:
        for epoch in range(2):
            for recorder in (a, b):
                recorder.update(np.arange(N), TRUTH[::-1].copy(), np.arange(N) < 12)
                recorder.end_epoch(scalars={"loss": epoch})
    first, second = open_run(tmp_path / "a"), open_run(tmp_path / "b")
    assert first.confusion("visits", epoch=-1).sum() == N and second.unlabelled_counts is None
    np.testing.assert_array_equal(second.pseudo_counts("visits", epoch=-1), first.pseudo_counts("visits", epoch=-1))
