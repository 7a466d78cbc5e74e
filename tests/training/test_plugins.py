"""A scheme, learner, network and data set of one's own, in one file outside the package: those of docs/extending.md."""

import inspect
import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import test_methods
import torch
from test_methods import Row
from test_resuming import TINY, interrupted_after_every_checkpoint, recorded

import pldebias as pld
from pldebias import cli, registry
from pldebias.methods import SCHEMES, MethodError
from pldebias.presets import ConfigError
from pldebias.registry import PluginError
from pldebias.schemes import Scheme

STRIPES = {
    "data": "stripes",
    "network": "mlp",
    "augment": "digits",
    "n1": 20,
    "m1": 100,
    "steps": 10,
    "steps_per_epoch": 5,
    "batch_size": 8,
}


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """`call("train", ...)` -> exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["pldebias", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return run


def test_a_scheme_with_state_trains_resumes_is_relabelled_and_plotted(my_methods, tmp_path):
    settings = {**TINY, "plugins": [my_methods]}
    whole = pld.train("fixmatch+relaxed", out=tmp_path / "whole", **settings)
    assert interrupted_after_every_checkpoint("fixmatch+relaxed", tmp_path / "cut", settings) == 3
    (cut,) = (pld.open_run(path) for path in pld.catalogue(tmp_path / "cut").path)
    ours, theirs = recorded(cut), recorded(whole)
    assert ours.keys() == theirs.keys()
    for name in theirs:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    assert pld.what_if(whole).reproduces
    assert pld.presets.resolve("fixmatch+relaxed", "glyphs-lt").options["relaxed"] == {"momentum": 0.9}
    other = pld.what_if(pld.train("fixmatch", out=tmp_path, **TINY), "relaxed")
    assert "relaxed: confidence: mean of this epoch's pseudo-labels of each class" in other.notes
    values = pld.plots.learned_state(whole, "relaxed/confidence", backend="none").values
    assert values["runs"]["fixmatch+relaxed"]["relaxed/confidence"]["classes"].mean.shape == (10,)
    assert list(whole.attrs["plugins"]) == [str(my_methods)]
    assert len(whole.attrs["plugins"][str(my_methods)]) == 64


@pytest.mark.parametrize("method", ["fixmatch+relaxed", "twice+relaxed"])
def test_the_contract_of_every_method_holds_for_those_of_plugins(my_methods, method, monkeypatch):
    """Every test of the contract table, for a row that no table holds."""
    pld.load_plugin(my_methods)
    given = {"row": Row(method), "classes": 10, "monkeypatch": monkeypatch}
    tests = [test for name, test in vars(test_methods).items() if name.startswith("test_") and "row" in inspect.signature(test).parameters]
    assert len(tests) > 6
    for test in tests:
        test(**{name: given[name] for name in inspect.signature(test).parameters})


def test_the_command_line_takes_everything_of_a_plugin(my_methods, call):
    options = [text for name, value in STRIPES.items() for text in (f"--{name.replace('_', '-')}", value)]
    code, out, err = call("train", "twice+la", "--plugin", "my_methods.py", "--json", *options)
    assert code == 0, err
    (made,) = json.loads(out)
    run = pld.open_run(made["path"])
    assert run.finished and run.class_names == ("rows", "columns", "diagonals")
    assert list(run.attrs["plugins"]) == ["my_methods.py"]
    listed = json.loads(call("methods", "--plugin", "my_methods.py", "--json")[1])
    assert [p["name"] for p in listed["schemes"] if p["plugin"] == "my_methods.py"] == ["relaxed"]
    assert "my_methods.py" in call("methods")[1]
    assert "Noisy stripes" in call("data")[1]


def test_an_installed_package_brings_its_methods(my_methods, tmp_path, monkeypatch):
    (tmp_path / "my_package").mkdir()
    my_methods.rename(tmp_path / "my_package/methods.py")
    (tmp_path / "broken_package.py").write_text("raise OSError('no licence')")
    info = tmp_path / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pldebias.plugins]\na = my_package.methods\nb = broken_package\n")
    monkeypatch.setattr(registry, "_looked", False)
    monkeypatch.syspath_prepend(tmp_path)
    assert "la" in SCHEMES and not registry._looked  # a known name asks no package
    with pytest.warns(RuntimeWarning, match=r"my-package: plugin 'broken_package' .*OSError: no licence \(.*, line 1\); it is left out"):
        run = pld.train("twice+relaxed", **STRIPES, out=tmp_path, progress=False)
    assert list(run.attrs["plugins"]) == ["my_package.methods"]
    assert SCHEMES.origins["relaxed"] == "my_package.methods"


def test_a_run_that_needs_a_plugin_names_it_and_loads_nothing(my_methods, tmp_path):
    """In a process of its own, which has not loaded it."""
    run = pld.train("fixmatch+relaxed", out=tmp_path, plugins=my_methods, **TINY)
    my_methods.write_text("print('it ran')")
    code = f"""
        import pldebias as pld
        run = pld.open_run({run.path!r})
        run.method, run.state("relaxed/confidence"), pld.what_if(run, "fixmatch")
        for ask in (lambda: pld.what_if(run), lambda: pld.train("fixmatch+relaxed", out={str(tmp_path)!r}, data="digits-lt")):
            try:
                ask()
            except ValueError as error:
                print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.count("scheme 'relaxed' is not known") == 2
    assert done.stdout.count(f"load it first, with pld.load_plugin({str(my_methods)!r})") == 2
    assert "it ran" not in done.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import torch\ndef f():\n    raise KeyError('x')\nf()",
            r"plugin .*mine.py' cannot be loaded: KeyError: 'x' \(.*mine.py, line 3\)",
        ),
        ("x = (", r"cannot be loaded: SyntaxError: '\(' was never closed \(.*mine.py, line 1\)"),
        ("import sys; sys.exit(3)", "cannot be loaded: SystemExit: 3"),
        ("import no_such_package", "No module named 'no_such_package'"),
        ("x = 1", "it registers nothing; call pld.register"),
        ("@pld.register\nclass A(Scheme):\n    name = 'la'", "the name 'la' of a scheme is taken by one of the package's own"),
        ("@pld.register\nclass A(Scheme):\n    name = 'fixmatch'", "'fixmatch' is taken by a learner"),
        ("@pld.register\nclass A(Scheme):\n    name = 'no word'", "A.name is 'no word'; write name = 'word' in the class"),
        ("@pld.register\nclass A(Scheme): pass", "A.name is None"),
        ("@pld.register\nclass A: pass", "not a Scheme, Learner, network or Config; give a subclass"),
        ("@pld.register(kind='scheme')\nclass A: pass", "not a subclass of Scheme"),
        (
            "@pld.register(kind='optimizer')\nclass A: pass",
            "kind='optimizer' is not known; choose one of scheme, learner, network, data, preset",
        ),
        ("@pld.register\ndef f(): pass", "not a Scheme, Learner, network or Config"),
        ("@pld.register(kind='network', name='a b')\ndef f(channels): pass", "the name 'a b' must be letters, digits"),
        ("@pld.register\nclass A(pld.learners.Learner):\n    name = 'mine'", "learner 'mine' does not define losses"),
        ("@pld.register(kind='network')\ndef wrn28_2(channels): pass", "the name 'wrn28_2' of a network is taken"),
    ],
)
def test_what_is_wrong_with_a_plugin_is_said_with_its_place(registries, tmp_path, text, message):
    path = tmp_path / "mine.py"
    text = (
        text
        if not text.startswith("@")
        else f"import pldebias as pld\nimport pldebias.learners\nfrom pldebias.schemes import Scheme\n{text}"
    )
    path.write_text(text)
    with pytest.raises(PluginError, match=message):
        pld.load_plugin(path)


def test_missing_files_and_modules(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    code, _, err = call("train", "fixmatch", "--plugin", "nothing.py")
    assert code == 2 and f"there is no file {tmp_path / 'nothing.py'}" in err
    with pytest.raises(PluginError, match="plugin '': '' is no path"):
        pld.load_plugin("")
    with pytest.raises(PluginError, match=r"there is no module 'no'; for a file write no\.methods\.py"):
        pld.load_plugin("no.methods")


def test_a_data_set_or_network_that_is_none_is_refused(registries, tmp_path):
    labels = torch.arange(4) % 2
    pld.register(lambda root: [], kind="data", name="listed")
    images = torch.zeros(4, 1, 8, 8)
    pld.register(lambda root: pld.data.Source(images, labels, images, labels, ("a", "b")), kind="data", name="floats")
    pld.register(lambda channels: torch.nn.Flatten(), kind="network", name="widthless")
    common = {"network": "cnn_digits", "augment": "digits", "steps": 2, "steps_per_epoch": 1, "progress": False, "out": tmp_path}
    with pytest.raises(ValueError, match=r"'listed' gives list: its function must return a pldebias\.data\.Source"):
        pld.train("fixmatch", "listed", **common)
    with pytest.raises(ValueError, match=r"'floats': images must be uint8 tensors .* got torch\.float32"):
        pld.train("fixmatch", "floats", **common)
    with pytest.raises(ConfigError, match="'widthless' does not state the width of its features"):
        pld.train("fixmatch", "digits-lt", **{**common, "network": "widthless"})


def test_a_class_of_a_notebook_is_replaced_and_stays_in_its_process(registries, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "__file__", None, raising=False)
    for strength in (1, 2):  # a cell that is run twice
        mine = type("Mine", (Scheme,), {"name": "mine", "__module__": "__main__", "strength": strength})
        pld.register(mine)
    assert SCHEMES["mine"].strength == 2
    with pytest.raises(PluginError, match="the name 'mine' of a scheme is taken by __main__"):
        pld.register(type("Other", (Scheme,), {"name": "mine", "__module__": "__main__"}))
    with pytest.raises(ConfigError, match="know no class of a notebook"):
        pld.sweep(["fixmatch", "fixmatch+mine"], jobs=2, out=tmp_path, **TINY)
    assert registry.missing_plugins({"plugins": {"__main__": ""}}).startswith("; the run was trained with a class of a notebook")


def test_a_preset_of_ones_own(registries):
    pld.register(pld.Config(data="mine-lt", source="digits", n1=30, augment="digits", network="cnn_digits", validation=0))
    assert pld.presets.resolve("fixmatch", "mine-lt").n1 == 30
    with pytest.raises(PluginError, match="the name 'glyphs-lt' of a preset is taken"):
        pld.register(pld.Config(data="glyphs-lt"))


def test_an_unknown_method_names_the_ways(registries):
    with pytest.raises(MethodError, match="or load the plugin that has it"):
        pld.build_method("fixmatch+nothing")
