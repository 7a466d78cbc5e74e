"""A store that a failing disk or a stranger altered: what is intact reads as it was recorded, the rest is refused by our own errors."""

import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import hypothesis.strategies as st
import numpy as np
import pytest
from cases import bounded, fuzz
from hypothesis import given
from reading import everything, explored, listed, wrong

from pldebias.runs import Recorder, RunError, schema

N, K, E = 40, 3, 4
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from([-1, 0, 2**31, 2**63, 1e300, "NaN"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=4,
)


class Whole(NamedTuple):
    """An unharmed run."""

    root: Path
    path: Path
    files: dict
    truth: dict

    def __repr__(self):  # Hypothesis prints it with every failure
        return "store"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A small run of every kind of array, the bytes of its files, and what can be read of it."""
    root = tmp_path_factory.mktemp("fuzz")
    path = root / "run"
    r = np.random.default_rng(0)
    truth = np.arange(N) % K
    truth[:3] = -1
    attrs = {"method": "fixmatch+daso", "data": "glyphs", "seed": 0, "config": {"lr": 0.03, "options": {"daso": {"T": 1.5}}}}
    with Recorder(path, truth, [9, 5, 2], ["cat", "dög", "<i>"], num_epochs=E, attrs=attrs, test_labels=truth) as recorder:
        for e in range(E):
            recorder.update(r.integers(0, N, 30), r.integers(0, K, 30), r.random(30) > 0.5)
            label = r.integers(0, K, N)
            outputs = {"logits": r.normal(size=(N, K)), "features": r.normal(size=(N, 4)), "snapshot": {"daso/p": r.random((K, 4))}}
            recorder.end_epoch(
                iteration=10 * e,
                scalars={"loss": r.random(), "acc": r.random()} | ({"late": 1.0} if e > 1 else {}),
                sweep=(label, label > 0),
                test=r.integers(0, K, N),
                series={"daso/prior": r.random(K)},
                **(outputs if e % 2 else {}),
            )
    files = {file: file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
    truth = everything(path)
    truth["row"] = listed(root, path)
    assert truth["epochs"] == list(range(E)) and wrong(truth, truth) == []
    return Whole(root, path, files, truth)


def restore(path, files):
    """Puts back what differs."""
    known = {str(file): data for file, data in files.items()}
    folders = {str(parent) for file in files for parent in file.parents}
    for folder, inner, names in os.walk(path, topdown=False):
        for name in (*inner, *names):
            at = f"{folder}/{name}"
            if os.path.islink(at) or (at not in known and not os.path.isdir(at)):
                os.unlink(at)
            elif os.path.isdir(at):
                if at not in folders:
                    shutil.rmtree(at)
            elif not os.path.isfile(at):
                os.unlink(at)
    for at, data in known.items():
        try:
            with open(at, "rb", buffering=0) as file:
                if file.read() == data:
                    continue
        except FileNotFoundError:
            os.makedirs(os.path.dirname(at), exist_ok=True)
        Path(at).write_bytes(data)


DAMAGE = ("flip", "flip", "patch", "cut", "longer", "gone", "swap", "folder gone", "extra", "link", "pipe", "folder", "linked")


@st.composite
def damage(draw):
    """One thing that happens to a file or a directory; applied as ``(kind, where, number, bytes)``."""
    return draw(st.sampled_from(DAMAGE)), draw(st.floats(0, 0.999)), draw(st.integers(0, 2**20)), draw(st.binary(min_size=1, max_size=24))


def apply(files, kind, where, number, data):
    names = list(files)
    file = names[int(where * len(names))]
    if not file.is_file() or file.is_symlink() or file.parent.is_symlink():
        return
    now = bytearray(file.read_bytes())
    if kind == "flip" and now:
        now[number % len(now)] ^= 1 << number % 8
        file.write_bytes(now)
    elif kind == "patch" and now:
        at = number % len(now)
        file.write_bytes(now[:at] + data + now[at + len(data) :])
    elif kind == "cut":
        file.write_bytes(now[: number % (len(now) + 1)])
    elif kind == "longer":
        file.write_bytes(now + data)
    elif kind == "gone":
        file.unlink()
    elif kind == "swap":
        file.write_bytes(files[names[number % len(names)]])
    elif kind == "folder gone" and file.parent.name != "run":
        shutil.rmtree(file.parent)
    elif kind == "extra":
        file.with_name(data.hex()).write_bytes(data)
    elif kind == "link":
        file.unlink()
        file.symlink_to("/dev/zero" if number % 2 else names[number % len(names)])
    elif kind == "pipe":
        file.unlink()
        os.mkfifo(file)
    elif kind == "folder":
        file.unlink()
        file.mkdir()
    elif kind == "linked" and file.parent.name != "run":
        elsewhere = file.parent.with_name(f"elsewhere {where} {number}")
        if not elsewhere.exists():
            os.rename(file.parent, elsewhere)
            file.parent.symlink_to(elsewhere)


def look(store, what, sealed=True):
    """Open, read, list and explore; compare what comes out, if checksums protect it."""
    root, path, _, truth = store
    with bounded(what):
        row = listed(root, path)
        try:
            seen = everything(path)
        except RunError as error:
            assert str(error) and (not row or row["problem"])
            return None
        blocks = explored(path)
    if sealed:
        assert wrong(seen, truth) == []
        assert all(np.array_equal(counts, truth[name]) for name, counts in blocks.items())
        ours = {name for name in row if name.startswith(("config.", "final.", "median20.")) and seen["epochs"] == truth["epochs"]}
        assert all(row[name] == truth["row"][name] for name in ours)
    return seen


@fuzz(8)
@given(st.lists(damage(), min_size=1, max_size=3))
def test_altered_files(store, damages):
    """Flipped bytes, cut, longer, missing and swapped files, links, pipes: no wrong number, no other error, no hang."""
    _, path, files, _ = store
    try:
        for one in damages:
            apply(files, *one)
        look(store, "stores with altered files")
    finally:
        restore(path, files)


def places_in(value, at=()):
    """Every place in a JSON value."""
    yield at
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places_in(inner, (*at, key))


def change(root, where, how, value):
    """Replace, remove or add something in a JSON value."""
    places = list(places_in(root))
    place = places[int(where * len(places))]
    if not place:
        return value if how == "replace" else root
    holder = root
    for key in place[:-1]:
        holder = holder[key]
    if how == "remove":
        del holder[place[-1]]
    elif how == "add" and isinstance(holder, dict):
        holder[str(value)[:5]] = value
    elif how == "nudge" and isinstance(holder[place[-1]], (int, float)) and not isinstance(holder[place[-1]], bool):
        holder[place[-1]] += value if isinstance(value, int) else 1
    else:
        holder[place[-1]] = value
    return root


CHANGES = st.lists(st.tuples(st.floats(0, 0.999), st.sampled_from(["replace", "remove", "add", "nudge"]), JSON), min_size=1, max_size=3)


@fuzz(16)
@given(CHANGES, st.booleans())
def test_altered_metadata(store, changes, forged):
    """JSON of the wrong type, wrong shapes and types, negative counts, newer versions; also with a checksum that a stranger made to fit."""
    _, path, files, _ = store
    root = json.loads(files[path / "zarr.json"])
    try:
        for one in changes:
            root = change(root, *one)
        if forged and isinstance(root, dict) and isinstance(root.get("attributes"), dict):
            root["attributes"].pop("checksum", None)
        (path / "zarr.json").write_text(json.dumps(root))
        look(store, "stores with altered metadata", sealed=not forged)
    finally:
        restore(path, files)


@fuzz(4)
@given(st.lists(damage(), min_size=1, max_size=3), CHANGES, st.integers(0, 2**32 - 1))
def test_a_stranger_s_store(store, damages, changes, seed):
    """Nothing in it is protected by a checksum: whatever its arrays hold, reading them ends, and fails by our own errors alone."""
    _, path, files, _ = store
    root = json.loads(files[path / "zarr.json"])
    del root["attributes"]["checksum"], root["consolidated_metadata"]["metadata"]["crc32c"]
    for meta in root["consolidated_metadata"]["metadata"].values():
        meta["attributes"].pop("crc32", None)
    r = np.random.default_rng(seed)
    try:
        for one in changes[:1]:
            root = change(root, *one)
        (path / "zarr.json").write_text(json.dumps(root))
        for one in damages:
            apply(files, *one)
        for name in r.choice(["visits", "sweep_accepted", "history", "logits", "written", "iteration", "scalars"], 2):
            for file in (path / name).glob("c.*"):
                if file.is_file() and not file.is_symlink():
                    rows = E if schema.kind_of(name).role == "table" else 0
                    size = file.stat().st_size - (16 * rows + 4 if rows else 0)
                    parts = [r.bytes(size // max(rows, 1) - 4) for _ in range(max(rows, 1))]
                    fitting = b"".join(part + google_crc32c.value(part).to_bytes(4, "little") for part in parts)
                    file.write_bytes(fitting + (file.read_bytes()[-16 * rows - 4 :] if rows else b""))
        look(store, "stores of strangers", sealed=False)
    finally:
        restore(path, files)


@fuzz(1)
@given(st.lists(damage(), min_size=1, max_size=2))
def test_going_on_in_an_altered_store(store, damages):
    """Resuming refuses, or ends with a run in which everything recorded since is whole."""
    root, path, files, truth = store
    copy = root / "resumed"
    try:
        for one in damages:
            apply(files, *one)
        shutil.copytree(path, copy, symlinks=True, ignore=lambda folder, names: [n for n in names if Path(folder, n).is_fifo()])
        labels = truth["true_labels"]
        with bounded("resumed stores"):
            first, recorded = None, range(0)
            try:
                names = ["cat", "dög", "<i>"]
                with Recorder(copy, labels, [9, 5, 2], names, num_epochs=E + 1, test_labels=labels, resume=True) as recorder:
                    recorder.rewind(min(recorder.end, E))
                    first = recorder.epoch
                    for _ in range(first, E + 1):
                        label = np.full(N, recorder.epoch % K)
                        recorder.end_epoch(iteration=10 * recorder.epoch, sweep=(label, label > 0), scalars={"loss": 1.0})
                    recorder.flush()
                recorded = range(first, E + 1)
            except RunError as error:
                assert str(error)
            if first is None:
                return
            seen = everything(copy)
        for e in recorded:
            assert e in seen["epochs"] and (seen["history", e][0] == e % K).all() and seen["iteration", e] == 10 * e
        seen["epochs"] = [e for e in seen["epochs"] if e < first]
        old = {name: value for name, value in seen.items() if isinstance(name, tuple) and name[-1] < first}
        assert wrong(old | {"epochs": seen["epochs"]}, truth) == []
    finally:
        shutil.rmtree(copy, ignore_errors=True)
        restore(path, files)


# -- what fuzzing finds too rarely ------------------------------------------------------------------------------------------


def edit(path, function):
    root = json.loads((path / "zarr.json").read_text())
    function(root["attributes"], root["consolidated_metadata"]["metadata"])
    root["attributes"].pop("checksum", None)
    (path / "zarr.json").write_text(json.dumps(root))


ABSURD = [
    lambda a, m: [meta["shape"].__setitem__(0, 10**12) for meta in m.values() if meta.get("dimension_names", [""])[0] == "epoch"],
    lambda a, m: m["true_labels"].update(shape=[10**12]),
    lambda a, m: [m[name]["chunk_grid"]["configuration"].update(chunk_shape=[10**9]) for name in ("done", "iteration")],
    lambda a, m: m["scalars"]["attributes"].update(names=["x"] * 3),
    lambda a, m: m.update({"../../../etc/x": m["sweep"]}),
    lambda a, m: m.update({"scheme/../../x": m["scheme/daso/prior"]}),
    lambda a, m: m["sweep"].update(data_type="object"),
    lambda a, m: m["sweep"].update(codecs=[{"name": "bytes"}, {"name": "pickle"}]),
    lambda a, m: a.update(labelled_counts=[-1, 5, 2]),
    lambda a, m: a.update(labelled_counts=[float("nan"), 5, 2]),
    lambda a, m: a.update(num_epochs=10**15),
    lambda a, m: a.update(class_names=["\x1b]0;owned\x07", "b", "c"]),
    lambda a, m: a.update(class_names=["\ud800", "b", "c"]),
    lambda a, m: a.update(method="fixmatch\n\x00"),
    lambda a, m: a.update(pldebias_format="1"),
    lambda a, m: a.update(pldebias_format=0),
]


@pytest.mark.parametrize("function", ABSURD, ids=range(len(ABSURD)))
def test_absurd_metadata(store, function):
    _, path, files, _ = store
    try:
        edit(path, function)
        with pytest.raises(RunError, match=r"is damaged|is no run"):
            everything(path)
    finally:
        restore(path, files)


def test_deeply_nested_metadata(store):
    _, path, files, _ = store
    try:
        (path / "zarr.json").write_text('{"attributes": ' + "[" * 100_000 + "]" * 100_000 + "}")
        with pytest.raises(RunError, match="is no run"):
            everything(path)
    finally:
        restore(path, files)


def test_names_of_every_script_are_plain():
    for name in ("猫", "ñandú", "zero\u200dwidth", "قط", "a b", "<b>", "$x$", "🐈‍⬛"):
        assert schema.is_plain(name)
    for name in ("a\nb", "\x00", "\x1b[31m", "\u2028", "\ud800", 3, None):
        assert not schema.is_plain(name)
