"""Every figure has an interactive twin with the same numbers, and gives them without drawing."""

import inspect

import numpy as np
import pytest
from made_runs import HOSTILE, make_run, make_snapshots

import pldebias as pld
from pldebias import plots

FIGURES = sorted(set(plots.__all__) - {"Drawn", "PaperFigure", "embedding_slider"})


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """A call of every figure, by its name."""
    root = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        for gamma in (1.0, 100.0):
            for method, right in (("fixmatch", (18, 16, 12, 0, 5, 2)), ("fixmatch+daso", (18, 16, 12, 9, 8, 8)), ("supervised", (9,) * 6)):
                outputs = {"outputs": gamma == 1.0, "names": list(HOSTILE), "gamma_u": gamma}
                make_run(root / method / f"{gamma:g}{seed}", method, seed, [min(20, n + seed) for n in right], **outputs)
    two = {method: [root / method / f"1{seed}" for seed in (0, 1)] for method in ("fixmatch", "fixmatch+daso")}
    one = make_snapshots(tmp_path_factory.mktemp("one") / "run", names=list(HOSTILE))
    first = {"what_if": lambda: pld.what_if(one, "debiaspl(tau=1)"), "embedding": lambda: pld.embed(one, progress=False)}
    runs = {"accuracy_gamma": root, "unlabelled_imbalance": root}
    options = {"confusion": {"normalize": "prior"}, "carpet": {"metric": "ratio"}, "samples": {"images": False}}

    def call(name, **told):
        alone = next(iter(inspect.signature(getattr(plots, name)).parameters)) == "run"
        given = first[name]() if name in first else one if alone else runs.get(name, two)
        return getattr(plots, name)(given, **options.get(name, {}), **told)

    return call


def numbers(trace):
    """What a trace shows, in the order of its points or cells."""
    if trace.type == "heatmap":
        return np.asarray(trace.customdata)[..., 0].ravel()
    whole = trace.type == "bar" and str(trace.hovertemplate).startswith("%{customdata:,}")  # drawn lower than it counts
    tiles = trace.type == "scatter" and trace.mode == "markers" and trace.customdata is not None
    return trace.customdata if whole or tiles else trace.y


@pytest.mark.parametrize("name", FIGURES)
def test_the_interactive_twin_has_the_numbers(calls, name):
    undrawn, twin = calls(name, backend="none"), calls(name, backend="plotly")
    assert undrawn.figure is None and undrawn.caption == twin.caption and list(undrawn.values) == list(twin.values)
    told = {(trace.meta["panel"], trace.meta["mark"]): trace for trace in twin.figure.data if trace.meta is not None}
    wanted = {(p, m): mark for p, panel in enumerate(undrawn.panels) for m, mark in enumerate(panel.marks) if hasattr(mark, "rows")}
    assert told.keys() == wanted.keys()
    for place, mark in wanted.items():
        trace, rows = told[place], mark.rows()
        expected = np.asarray(rows.get("value", rows.get("y")), float)
        if floor := getattr(mark, "floor", None):
            expected = np.maximum(expected, floor)
        np.testing.assert_allclose(np.asarray(numbers(trace), float), expected, rtol=1e-6)
        if trace.type == "scatter" and rows.get("low") is not None:
            np.testing.assert_allclose(np.asarray(trace.customdata, float).T, [rows["low"], rows["high"]])
            np.testing.assert_allclose(np.asarray(trace.x, float) - mark.shift, rows["x"], atol=1e-12)
    data = undrawn.data
    assert len(data) == sum(len(np.ravel(next(iter(v for k, v in m.rows().items() if k in ("value", "y"))))) for m in wanted.values())
    assert np.isfinite(data.select_dtypes("number")).to_numpy().any() and "panel" in data
    page = twin.to_html(full_html=False, include_plotlyjs=False)
    assert "<script>alert(1)</script>" not in page and "https://" not in page.replace("https://plot.ly", "").replace(
        "https://plotly.com", ""
    )


def test_what_a_pointer_tells_of_a_cell(calls):
    """Counts, shares of row and column, and Wilson's interval."""
    twin = calls("confusion", backend="plotly")
    counts = twin.values["counts"]
    value, count, of_true, low, high, of_label = np.moveaxis(np.asarray(twin.figure.data[0].customdata), -1, 0)
    np.testing.assert_allclose(value, twin.values["values"], rtol=1e-6)
    np.testing.assert_array_equal(count, counts)
    np.testing.assert_allclose(of_true, counts / counts.sum(1, keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(of_label[:, counts.sum(0) > 0], (counts / np.maximum(1, counts.sum(0)))[:, counts.sum(0) > 0], rtol=1e-6)
    expected = pld.metrics.wilson(counts, counts.sum(1, keepdims=True))
    np.testing.assert_allclose([low, high], expected, rtol=1e-5, atol=1e-7)
    assert "{count" not in twin.figure.data[0].hovertemplate and "samples" in twin.figure.data[0].hovertemplate


def test_pages(calls, tmp_path):
    twin = calls("recall_precision", backend="plotly")
    twin.save(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<html>" in page[:50] and len(page) > 3e6  # carries the script
    piece = twin.to_html(full_html=False, include_plotlyjs=False)
    assert piece.startswith("<div") and len(piece) < 1e5
    twin.save(tmp_path / "piece", full_html=False, include_plotlyjs=False)
    assert (tmp_path / "piece.html").stat().st_size < 1e5
    twin.save(tmp_path / "page.json")
    assert (tmp_path / "page.json").read_text().startswith('{"data":')
    assert repr(twin) == "<PaperFigure, plotly; values: runs, order>"
    with pytest.raises(ValueError, match=r"a plotly figure is written as \.html or \.json; draw it with backend='matplotlib' for pdf"):
        twin.save(tmp_path / "page.pdf")
    with pytest.raises(ValueError, match="draw it with backend='plotly'"):
        calls("recall_precision", backend="none").to_html()


def test_notebooks_show_each_backend(calls, monkeypatch):
    """As IPython asks: a plotly figure shows itself, others are pictures."""
    from IPython.core.formatters import DisplayFormatter

    shown, formatter = [], DisplayFormatter()
    for kind in ("image/png", "text/html"):
        formatter.formatters[kind].enabled = True
    formatter.ipython_display_formatter.enabled = True
    monkeypatch.setattr("plotly.io.show", lambda figure, renderer=None: shown.append((figure, renderer)))
    monkeypatch.setattr("plotly.io.renderers.default", "plotly_mimetype")  # of a kernel
    twin, drawn, undrawn = (calls("flows", backend=backend) for backend in ("plotly", "matplotlib", "none"))
    assert formatter.format(twin) == ({}, {}) and shown == [(twin.figure, "plotly_mimetype+notebook_connected")]
    assert formatter.format(drawn)[0].keys() == {"text/plain", "image/png"} and formatter.format(undrawn)[0].keys() == {"text/plain"}
    assert twin._repr_html_().startswith("<div") and len(shown) == 1


@pytest.mark.parametrize("name", FIGURES)
def test_unknown_backends_are_refused_with_the_choices(calls, name):
    with pytest.raises(ValueError, match=r"backend must be one of 'matplotlib', 'plotly', 'none'; got 'plotyl' \(did you mean 'plotly'"):
        calls(name, backend="plotyl")


def test_axes_belong_to_matplotlib(calls):
    from matplotlib.figure import Figure

    with pytest.raises(ValueError, match="ax= takes axes of matplotlib, and backend='plotly' draws none"):
        calls("confusion", ax=Figure().subplots(), backend="plotly")


def test_the_label_given_most_is_drawn_under_the_strip(calls):
    """The axis has room over every share, and over its interval."""
    figure = calls("label_distribution")
    ax, drawn = figure.axes[0, 0], figure.values["runs"]
    assert ax.get_ylim()[1] > max(np.nanmax(arrays["share"].mean) for arrays in drawn.values())
    assert ax.get_ylim()[0] < min(arrays["share"].mean[arrays["share"].mean > 0].min() for arrays in drawn.values())
