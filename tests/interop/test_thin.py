"""A thinned copy of a run: what it keeps is the run's, it is one file, and the tools that read runs read it."""

import zipfile

import numpy as np
import pytest

import pldebias as pld
from pldebias.analysis.comparing.selection import select
from pldebias.analysis.relabelling.counterpart import _root_of
from pldebias.interop.thin import choose, is_cut, thin
from pldebias.methods import MethodError
from pldebias.runs import Recorder, RunError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    short = {"steps": 120, "steps_per_epoch": 4, "snapshots": 6, "m1": 60, "gamma_u": 5.0, "batch_size": 8, "progress": False}
    return pld.train("fixmatch+daso(start=0)", out=tmp_path_factory.mktemp("runs"), **short)


def test_what_stays_is_the_runs(run, tmp_path):
    path = thin(run, tmp_path / "gallery" / "run.zip", epochs=8, snapshots=2, dimensions=12)
    small = pld.open_run(f"zip://::{path}")
    assert small.finished and small.attrs["thinned"] == {"epochs": 30, "snapshots": 6, "features": 64}
    kept = small.epochs.tolist()
    np.testing.assert_array_equal(small.iterations, run.iterations[kept])
    assert small.total_epochs == 30 and kept[0] == 0 and kept[-20:] == list(range(10, 30)) and len(kept) < 30
    for kind in run.kinds:
        for split in ("all", "accepted", "rejected") if kind != "test" else ("all",):
            np.testing.assert_array_equal(small.confusion(kind, split), run.confusion(kind, split, epoch=kept), err_msg=f"{kind} {split}")
    for ours, theirs in zip(small.epochs, kept, strict=True):
        np.testing.assert_array_equal(np.stack(small.history(ours)), np.stack(run.history(theirs)))
    np.testing.assert_array_equal(small.scalars.to_numpy(), run.scalars.iloc[kept][small.scalars.columns].to_numpy())
    for name in run.series:
        np.testing.assert_array_equal(small.state(name), run.state(name)[kept])
    last = int(small.snapshots[-1])
    assert len(small.snapshots) == 2 and last == 29
    np.testing.assert_array_equal(small.logits(last), run.logits(29))
    for key in ("method", "data", "seed", "config", "fingerprint"):
        assert small.attrs[key] == run.attrs[key]


def test_features_keep_their_angles(run, tmp_path):
    small = pld.open_run(f"zip://::{thin(run, tmp_path / 'run.zip', snapshots=3, dimensions=24)}")
    features, wanted = small.features(), run.features()
    assert features.shape == (len(wanted), 24) and small.snapshot_state("daso/prototypes").shape == (10, 24)

    def cosines(x, y):
        return (x / np.linalg.norm(x, axis=1, keepdims=True)) @ (y / np.linalg.norm(y, axis=1, keepdims=True)).T

    prototypes = cosines(features, small.snapshot_state("daso/prototypes")), cosines(wanted, run.snapshot_state("daso/prototypes"))
    assert np.abs(prototypes[0] - prototypes[1]).max() < 0.05


@pytest.mark.parametrize("scheme", [None, "daso(start=0)", "usadtm(start=0)", "la(at=pseudo)"])
def test_a_copy_is_relabelled_as_the_run_is(run, tmp_path, scheme):
    """Also a copy of a copy, by schemes that compare features with prototypes."""
    small = pld.open_run(thin(run, tmp_path / "a.zip", epochs=5, snapshots=4, dimensions=6))
    again = pld.open_run(thin(small, tmp_path / "b.zip", epochs=5, snapshots=2, dimensions=3))
    assert again.attrs["thinned"] == small.attrs["thinned"] and again.features().shape[1] == 3
    for epoch in again.snapshots:
        whole = pld.what_if(run, scheme, epoch=epoch)
        for copy in (small, again):
            found = pld.what_if(copy, scheme, epoch=epoch)
            assert found.reproduces
            np.testing.assert_array_equal(found.label, whole.label)
            np.testing.assert_array_equal(found.accepted, whole.accepted)
            np.testing.assert_allclose(found.confidence, whole.confidence, atol=1e-4)


def test_what_a_copy_lacks_is_refused_by_name(run, tmp_path):
    bare = pld.open_run(thin(run, tmp_path / "a.zip", epochs=5, snapshots=2, dimensions=6, relabel=False))
    again = pld.open_run(thin(bare, tmp_path / "b.zip", epochs=5, snapshots=2, dimensions=3))
    for copy in (bare, again):
        for ask in (lambda: pld.what_if(copy), lambda: pld.what_if(copy, "usadtm"), lambda: pld.plots.blending(copy)):  # noqa: B023
            with pytest.raises(MethodError, match=r"thinned copy that kept too few dimensions.*take the whole run"):
                ask()
        assert not is_cut(run, int(run.snapshots[-1])) and len(pld.what_if(copy, "fixmatch").label)


def test_a_copy_of_an_unfinished_run_is_unfinished(tmp_path):
    with Recorder(tmp_path / "run", np.arange(12) % 3, [5, 3, 1], [*"abc"], num_epochs=40) as recorder:
        for epoch in range(30):
            recorder.end_epoch(iteration=7 * epoch + 7, scalars={"x": epoch}, sweep=(np.arange(12) % 3, np.ones(12, bool)))
    small = pld.open_run(thin(pld.open_run(tmp_path / "run"), tmp_path / "run.zip", epochs=2))
    assert list(small.epochs) == [0, *range(10, 30)] and small.total_epochs == 40 and not small.finished
    assert list(small.iterations) == [7 * epoch + 7 for epoch in small.epochs] and list(small.scalars["x"]) == list(small.epochs)


def test_the_same_run_gives_the_same_labels_and_is_read_by_the_tools(run, tmp_path):
    small = pld.open_run(f"zip://::{thin(run, tmp_path / 'run.zip', epochs=3, snapshots=2)}")
    what = pld.what_if(small, "fixmatch+la(at=pseudo)", epoch=int(small.snapshots[-1]))
    assert what.confusion.sum() == len(run.true_labels)
    assert np.isfinite(pld.embed(small, "pca", per_class=20).frames).all()
    assert pld.explore(small) is not None


def test_unknown_truth_stays_unknown(tmp_path):
    short = {"steps": 4, "steps_per_epoch": 2, "snapshots": 1, "m1": 60, "gamma_u": 5.0, "batch_size": 8, "progress": False}
    run = pld.train("fixmatch", out=tmp_path, unknown_labels=True, **short)
    small = pld.open_run(f"zip://::{thin(run, tmp_path / 'run.zip', dimensions=None)}")
    assert (small.true_labels == -1).all() and small.attrs["thinned"]["features"] is None
    np.testing.assert_array_equal(small.unknown("visits"), run.unknown("visits"))
    np.testing.assert_array_equal(small.features(), run.features())


def test_positions_that_stay():
    assert choose(5, 60) == [0, 1, 2, 3, 4]
    assert choose(500, 3)[:2] == [0, 250] and choose(500, 3)[-20:] == list(range(480, 500))


def test_a_zip_file_of_a_run_is_a_run_like_any_other(run, tmp_path):
    """Opened by its path, listed, selected and found as a counterpart; files that are none are passed over."""
    path = thin(run, tmp_path / "shipped" / "run.zip", epochs=3, snapshots=2)
    (tmp_path / "shipped" / "notes.zip").write_bytes(b"no archive")
    with zipfile.ZipFile(tmp_path / "shipped" / "pictures.zip", "w") as archive:
        archive.writestr("a.png", b"")
    small = pld.open_run(path)
    assert small.path == str(path) and list(small.epochs) == list(pld.open_run(f"zip://::{path}").epochs)
    found = pld.catalogue(tmp_path / "shipped")
    assert list(found["path"]) == [str(path)] and found["problem"].isna().all() and found["epochs"][0] == len(small.epochs)
    assert [r.path for r in select(tmp_path / "shipped").popitem()[1]] == [str(path)]
    assert _root_of(small) == _root_of(pld.open_run(f"zip://::{path}")) == str(tmp_path / "shipped")
    with pytest.raises(RunError):
        pld.open_run(tmp_path / "shipped" / "pictures.zip")
    with pytest.raises(RunError):
        pld.open_run(tmp_path / "shipped" / "notes.zip")
