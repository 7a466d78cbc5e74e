"""Runs that others recorded: begun late, with samples that have no label, with classes that have no test image."""

import inspect

import matplotlib.pyplot as plt
import numpy as np
import pytest

import pldebias
from pldebias import plots
from pldebias.analysis.relabelling.changes import flows
from pldebias.interop.tensorboard import write_tensorboard
from pldebias.interop.thin import thin
from pldebias.runs import Recorder, open_run

K, N, METHOD = 4, 48, "fixmatch(threshold=0.6)"
REFUSED = {
    "always": {"accuracy_gamma", "blending", "confusion_difference", "estimated_prior", "learned_state", "unlabelled_imbalance"},
    "late": set(),
    "unlabelled rows": set(),
    "no label at all": {"reliability", "samples", "threshold_sweep", "embed"},
    "no test image": set(),
}
KINDS = [kind for kind in REFUSED if kind != "always"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    made = {}

    def run(kind):
        if kind in made:
            return made[kind]
        r, path = np.random.default_rng(0), tmp_path_factory.mktemp("odd") / "run"
        truth = r.integers(0, K, N)
        attrs = {"method": METHOD, "config": {"method": METHOD}, "seed": 0}
        with Recorder(path, truth, [40, 20, 10, 5], list("abcd"), num_epochs=8, attrs=attrs) as recorder:
            if kind == "late":
                recorder.rewind(5)
            for epoch in range(recorder.epoch, 8):
                logits = (r.normal(size=(N, K)) + 2 * np.eye(K)[truth]).astype(np.float16).astype(np.float32)
                shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
                label, accepted = logits.argmax(1), shares.max(1) >= 0.6
                if kind == "unlabelled rows":
                    label = np.where(accepted, label, -1)
                if kind == "no label at all":
                    label, accepted = np.full(N, -1), np.zeros(N, bool)
                true = r.integers(0, K - (kind == "no test image"), 30)
                recorder.update(np.arange(N), label, accepted)
                outputs = {"logits": logits, "features": r.normal(size=(N, 5))}
                recorder.end_epoch(iteration=4 * epoch + 4, sweep=(label, accepted), test=(true, r.integers(0, K, 30)), **outputs)
        made[kind] = open_run(path)
        return made[kind]

    return run


def calls(run, folder):
    """Everything that takes one run, by name."""
    found = {}
    for name in plots.__all__:
        parameters = list(inspect.signature(getattr(plots, name)).parameters.values())
        if parameters[0].name in ("run", "runs") and all(
            p.default is not p.empty for p in parameters[1:] if p.kind is p.POSITIONAL_OR_KEYWORD
        ):
            found[name] = lambda name=name, many=parameters[0].name == "runs": getattr(plots, name)([run] if many else run)
    for frame in ("classes", "confusion", "history", "scalars"):
        found[f"to_dataframe {frame}"] = lambda frame=frame: run.to_dataframe(frame)
    return found | {
        "what_if": lambda: pldebias.what_if(run, "debiaspl"),
        "embed": lambda: pldebias.embed(run),
        "explore": lambda: pldebias.explore(run),
        "table": lambda: pldebias.table([run]),
        "to_netcdf": lambda: run.to_netcdf(folder / "run.nc"),
        "write_tensorboard": lambda: write_tensorboard(run, folder / "events"),
        "thin": lambda: thin(run, folder / "thin.zip"),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_takes_a_run_takes_it_or_says_why_not(odd, tmp_path, kind):
    run, refused = odd(kind), set()
    for name, call in calls(run, tmp_path).items():
        try:
            call()
        except (ValueError, KeyError) as error:
            assert len(str(error)) > 30 and "\n" not in str(error), (name, error)
            refused.add(name)
        plt.close("all")
    assert refused == REFUSED["always"] | REFUSED[kind]


def test_what_is_undefined_is_not_zero(odd):
    frame = odd("no label at all").to_dataframe("classes")
    sweep = frame[frame.kind != "test"]
    assert sweep.recall.isna().all() and sweep.precision.isna().all()
    frame = odd("no test image").to_dataframe("classes")
    test = frame[(frame.kind == "test") & (frame["class"] == "d")]
    assert test.recall.isna().all() and (test.precision.fillna(0) == 0).all() and test.true.eq(0).all()


def test_flows_begin_with_the_first_epoch_that_is_there(odd):
    found = flows(odd("late"))
    assert (found.start, found.end) == (5, 7) and found.n == N
    assert flows(odd("unlabelled rows")).n < N and flows(odd("no label at all")).n == 0


def test_rejected_samples_may_lack_their_label(odd):
    """The run's own method is still recognised, and its labels fill in."""
    found = pldebias.what_if(odd("unlabelled rows"), "debiaspl")
    assert found.reproduces and (found.label >= 0).all()


def test_labels_of_a_class_without_samples_are_infinitely_far_from_the_truth(tmp_path):
    runs = []
    for seed in (0, 1):
        attrs = {"method": "m", "data": "d", "seed": seed}
        with Recorder(tmp_path / str(seed), [0, 1], [5, 5, 3], ["a", "b", "c"], attrs=attrs) as recorder:
            recorder.end_epoch(sweep=([0, 2], [True, True]), test=np.eye(3, dtype=int))
        runs.append(open_run(tmp_path / str(seed)))
    for entry in (runs[0], {"m": runs}):  # numpy warns of inf - inf, and warnings are errors here
        (drawn,) = plots.label_distribution(entry).values["runs"].values()
        assert drawn["kl"].mean == np.inf and np.isnan(drawn["kl"].sd)
        assert pldebias.table(entry, values="pl_kl").cells[0, 0].mean == np.inf
