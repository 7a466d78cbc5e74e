"""Loaders: endless, resumable, the same from memory and from workers."""

import multiprocessing
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from on_cuda import capture, no_waiting

from pldebias.data import DataError, ResidentLoader, SplitSpec, StreamLoader, build, make_augment
from pldebias.data.loaders import IndexStream, balanced_weights
from pldebias.gpu.graph import register
from tests.golden_files import seeds, vectors


@pytest.fixture(scope="module")
def dataset():
    return build(SplitSpec("digits", 60, 64, 20, 20, holdout=0.2))


@pytest.fixture(scope="module")
def policy(dataset):
    return make_augment("digits", dataset.mean, dataset.std, 8)


def equal(a, b):
    views = {**{f"l {k}": v for k, v in a.labelled.items()}, **{f"u {k}": v for k, v in a.unlabelled.items()}}
    others = {**{f"l {k}": v for k, v in b.labelled.items()}, **{f"u {k}": v for k, v in b.unlabelled.items()}}
    plain = all(torch.equal(getattr(a, n), getattr(b, n)) for n in ("y", "labelled_index", "index"))
    return plain and views.keys() == others.keys() and all(torch.equal(views[k], others[k]) for k in views)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 50), st.lists(st.integers(0, 120), max_size=8), st.integers(0, 2**40))
def test_index_stream_is_permutations_end_to_end(n, counts, seed):
    stream = IndexStream(n, seed)
    taken = torch.cat([stream.take(c) for c in [*counts, 0]])
    assert len(taken) == sum(counts)
    for block in taken.split(n) if len(taken) else ():
        assert len(block.unique()) == len(block) and 0 <= block.min() <= block.max() < n
    state = stream.state_dict()
    ahead = stream.take(2 * n + 3)
    stream.load_state_dict(state)
    twin = stream.fork()
    assert torch.equal(stream.take(2 * n + 3), ahead) and torch.equal(twin.take(2 * n + 3), ahead)


@vectors("daso_seval/samplers_K*")
def test_index_stream_equals_the_papers_sampler(vector, golden):
    arrays, _ = golden(vector)
    drawn = torch.from_numpy(arrays["out_random_sampler"])
    assert any(torch.equal(IndexStream(int(drawn.max()) + 1, seed).take(len(drawn)), drawn) for seed in seeds(vector))


@vectors("daso_seval/samplers_K*")
def test_balanced_draws_have_the_class_frequencies_of_the_papers_sampler(vector, golden):
    """Recorded in 20,000 draws: a share of a tenth has a standard error of 0.002 there and here."""
    arrays, _ = golden(vector)
    labels = torch.from_numpy(arrays["in_labels"])
    for beta, kind in ((0.999, "0p999"), (1.0, "1p0")):
        recorded = torch.from_numpy(arrays[f"out_emp_{kind}"])
        weights = balanced_weights(labels, beta)
        shares = torch.zeros_like(recorded).index_add_(0, labels, weights / weights.sum())
        torch.testing.assert_close(shares, recorded, atol=0.01, rtol=0)


def test_empty_set_cannot_be_sampled():
    with pytest.raises(DataError, match="empty"):
        IndexStream(0, 0)


def test_batches(dataset, policy):
    views = ("weak", "strong", "weak2", "strong2", "identity")
    loader = ResidentLoader(dataset, policy, batch_size=8, mu=2.5, labelled_views=("weak", "strong"), unlabelled_views=views)
    batch = loader.next()
    assert set(batch.labelled) == {"weak", "strong"} and set(batch.unlabelled) == set(views)
    assert all(v.shape == (8, 1, 8, 8) for v in batch.labelled.values()) and all(
        v.shape == (20, 1, 8, 8) for v in batch.unlabelled.values()
    )
    assert torch.equal(batch.y, dataset.labelled.labels[batch.labelled_index])
    assert torch.equal(batch.unlabelled["identity"], policy(dataset.unlabelled.images[batch.index], "identity"))
    for a, b in (("weak", "weak2"), ("strong", "strong2"), ("weak", "strong")):
        assert not torch.equal(batch.unlabelled[a], batch.unlabelled[b])
    assert not torch.equal(loader.next().index, batch.index)


def test_supervised_needs_no_unlabelled_images(dataset, policy):
    batch = ResidentLoader(dataset, policy, batch_size=4, mu=0).next()
    assert batch.labelled["weak"].shape == (4, 1, 8, 8) and len(batch.index) == 0 and batch.unlabelled["weak"].shape == (0, 1, 8, 8)


def test_seeds_and_separate_streams(dataset, policy):
    def first(**kwargs):
        return ResidentLoader(dataset, policy, **{"batch_size": 8, "mu": 2, **kwargs}).next()

    assert equal(first(seed=1), first(seed=1))
    assert not torch.equal(first(seed=1).index, first(seed=2).index)
    more_views = first(seed=1, unlabelled_views=("weak", "strong", "strong2"))
    assert torch.equal(more_views.index, first(seed=1).index), "augmentation does not disturb sampling"
    assert torch.equal(first(seed=1, mu=3).labelled_index, first(seed=1).labelled_index), "unlabelled sampling does not disturb labelled"


def test_every_image_once_an_epoch(dataset, policy):
    loader = ResidentLoader(dataset, policy, batch_size=7, mu=3)
    n = len(dataset.unlabelled)
    seen = torch.cat([loader.next().index for _ in range(2 * n // 21 + 2)])[: 2 * n]
    assert torch.bincount(seen, minlength=n).eq(2).all()


def test_balanced_sampling(dataset, policy):
    assert torch.bincount(dataset.labelled.labels).max() > 10 * torch.bincount(dataset.labelled.labels).min()
    loader = ResidentLoader(dataset, policy, batch_size=500, mu=0, balanced=True)
    counts = torch.bincount(torch.cat([loader.next().y for _ in range(10)]), minlength=10)
    assert counts.min() > 400 and counts.max() < 600
    sums = torch.zeros(10, dtype=torch.float64).index_add_(0, dataset.labelled.labels, balanced_weights(dataset.labelled.labels))
    assert torch.allclose(sums, torch.ones(10, dtype=torch.float64))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 25), st.booleans())
def test_exact_resume(dataset, policy, steps, balanced):
    loader = ResidentLoader(dataset, policy, batch_size=8, mu=2, seed=5, balanced=balanced)
    for _ in range(steps):
        loader.next()
    state = loader.state_dict()
    wanted = [loader.next() for _ in range(4)]
    fresh = ResidentLoader(dataset, policy, batch_size=8, mu=2, seed=99, balanced=balanced)
    fresh.load_state_dict(state)
    assert all(equal(a, fresh.next()) for a in wanted)


@pytest.mark.parametrize("workers", [0, 2])
def test_stream_equals_resident_and_resumes(dataset, policy, workers):
    kwargs = {"batch_size": 8, "mu": 2, "seed": 3}
    resident, stream = ResidentLoader(dataset, policy, **kwargs), StreamLoader(dataset, policy, workers=workers, prefetch=2, **kwargs)
    for _ in range(12):
        assert equal(resident.next(), stream.next())
    state = stream.state_dict()
    wanted = resident.next()
    assert equal(stream.next(), wanted)
    stream.load_state_dict(state)
    assert equal(stream.next(), wanted)
    resident.load_state_dict(state)
    assert equal(resident.next(), wanted), "a run may change the kind of loader when it resumes"
    stream.close()


@pytest.mark.parametrize("split", ["labelled", "unlabelled", "test", "holdout"])
@pytest.mark.parametrize("workers", [None, 0, 2])
def test_clean_passes(dataset, policy, split, workers):
    kwargs = {"batch_size": 8, "mu": 2}
    loader = ResidentLoader(dataset, policy, **kwargs) if workers is None else StreamLoader(dataset, policy, workers=workers, **kwargs)
    part = getattr(dataset, split)
    before = loader.state_dict()
    images, labels = (torch.cat(x) for x in zip(*loader.clean(split, batch=37), strict=True))
    assert torch.equal(labels, part.labels) and torch.equal(images, policy(part.images, "identity"))
    assert torch.equal(before["augment"], loader.state_dict()["augment"]), "a clean pass draws nothing"


def test_the_readers_of_clean_passes_stay(dataset, policy):
    """And go on with whatever is asked for next, also after a pass that was given up."""
    others, readers = {process.pid for process in multiprocessing.active_children()}, []
    loader = StreamLoader(dataset, policy, batch_size=8, mu=2, workers=2)
    for split in ("test", "unlabelled", "test"):
        next(loader.clean(split, batch=5))
        images = torch.cat([images for images, _ in loader.clean(split, batch=50)])
        assert torch.equal(images, policy(getattr(dataset, split).images, "identity"))
        readers.append({process.pid for process in multiprocessing.active_children()} - others)
    assert len(readers[0]) == 2 and readers[0] == readers[1] == readers[2]
    loader.close()
    assert torch.equal(torch.cat([y for _, y in loader.clean("holdout")]), dataset.holdout.labels)


@pytest.mark.parametrize(("size", "images"), [(8, 2048), (32, 2048), (64, 512), (224, 64)])
def test_clean_batches_of_a_gpu_shrink_as_images_grow(size, images):
    augment = make_augment("daso", (0.5,) * 3, (0.5,) * 3, size)
    assert ResidentLoader.clean_batch.fget(SimpleNamespace(device=torch.device("cuda"), augment=augment)) == images


def test_bad_arguments(dataset, policy):
    with pytest.raises(DataError, match="batch_size=0"):
        ResidentLoader(dataset, policy, batch_size=0, mu=1)
    with pytest.raises(DataError, match="'medium'; allowed"):
        ResidentLoader(dataset, policy, batch_size=1, mu=1, unlabelled_views=("medium",))
    with pytest.raises(DataError, match="no split 'validation'; it has labelled, unlabelled, test, holdout"):
        next(ResidentLoader(dataset, policy, batch_size=1, mu=1).clean("validation"))
    with pytest.raises(DataError, match="workers=-1"):
        StreamLoader(dataset, policy, batch_size=1, mu=1, workers=-1)


def test_an_empty_unlabelled_set_is_said(policy):
    everything = build(SplitSpec("digits", n1=100, m1=24, gamma_u=20, validation=0))
    assert len(everything.unlabelled) > 0
    everything.unlabelled.labels = everything.unlabelled.labels[:0]
    with pytest.raises(DataError, match="unlabelled set is empty, but mu=2"):
        ResidentLoader(everything, policy, batch_size=4, mu=2)


def test_next_asks_nothing_of_the_device(dataset, policy, monkeypatch):
    """No tensor's value is read in a resident step, so no step waits for the device (the masked way of RandAugment included)."""
    made = make_augment("daso", dataset.mean, dataset.std, 8)
    made.strategy = "masked"
    for augment in (policy, made):
        loader = ResidentLoader(dataset, augment, batch_size=4, mu=2)
        loader.next()
        with monkeypatch.context() as patch:
            for name in ("item", "tolist", "__bool__", "__int__", "__float__", "__index__", "cpu", "numpy", "nonzero"):
                patch.setattr(torch.Tensor, name, lambda *a, name=name, **k: pytest.fail(f"Tensor.{name} in a step"))
            loader.next()


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["daso", "usb", "glyphs"])
def test_on_cuda(dataset, name):
    made = make_augment(name, dataset.mean, dataset.std, 8)
    loader = ResidentLoader(dataset, made, batch_size=16, mu=2, device="cuda")
    cpu = ResidentLoader(dataset, made, batch_size=16, mu=2)
    loader.next(), cpu.next()  # constants are made once
    with no_waiting():
        batch = loader.next()
        batch = loader.make(batch.labelled_index, batch.index)
    assert batch.unlabelled["strong"].is_cuda and torch.equal(batch.index.cpu(), cpu.next().index)
    graph = torch.cuda.CUDAGraph()
    register(graph, loader.generator)
    with capture(graph):
        captured = loader.make(batch.labelled_index, batch.index)
    graph.replay()
    first = captured.unlabelled["strong"].clone()
    graph.replay()
    assert first.isfinite().all() and not torch.equal(first, captured.unlabelled["strong"])


def test_a_generator_goes_on_from_another_kind_of_device():
    """A checkpoint of a GPU goes on on a CPU with draws of its own, the same every time; what is no state at all is refused."""
    from pldebias.data.loaders import STATE_BYTES, resume_generator

    generator = torch.Generator()
    assert generator.get_state().numel() == STATE_BYTES[0]
    draws = []
    for last in (1, 1, 2):
        state = torch.zeros(STATE_BYTES[1], dtype=torch.uint8)  # of CUDA: a seed and an offset
        state[-1] = last
        resume_generator(generator, state)
        draws.append(torch.rand(4, generator=generator).tolist())
    assert draws[0] == draws[1] != draws[2]
    kept = generator.get_state()
    wanted = torch.rand(3, generator=generator)
    resume_generator(generator, kept)
    assert torch.equal(torch.rand(3, generator=generator), wanted)
    with pytest.raises(RuntimeError):
        resume_generator(generator, torch.zeros(3, dtype=torch.uint8))
