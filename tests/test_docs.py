"""The documentation holds: its example runs, its floors are those of the imports."""

import ast
import re
from pathlib import Path

import pytest
import torch

from pldebias import methods, schemes
from pldebias.nets import Network
from pldebias.schemes import Models, Problem

ROOT = Path(__file__).parent.parent
FLOORS = {
    "_background": 0, "_deprecate": 0, "_files": 0,
    "settings": 0, "hardware": 0, "paths": 0, "progress": 0, "optional": 0, "registry": 0, "records": 0,
    "data": 1, "nets": 1, "schemes": 1, "runs": 1, "metrics": 1, "learners": 2, "interop": 2,
    "methods": 3, "presets": 3, "analysis": 4, "training": 4, "plugins": 4,
    "gpu": 5, "widgets": 5, "plots": 5, "report": 6, "figures": 6, "cli": 6, "doctor": 6, "__main__": 7,
}  # fmt: skip
SAME_FLOOR = {
    ("_files", "paths"),
    ("registry", "paths"),
    ("presets", "methods"),
    ("registry", "settings"),
    ("runs", "metrics"),
    ("runs", "interop"),
    ("schemes", "runs"),
    ("widgets", "plots"),
    ("cli", "doctor"),
    ("cli", "report"),
    ("cli", "figures"),
}


def room(path: Path) -> str:
    return path.relative_to(ROOT / "pldebias").parts[0].removesuffix(".py")


LAZY = {"training/program.py", "data/pixel.py"}
"""Files that load the room `gpu`, inside a function."""


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "pldebias":
            rest = node.module.split(".")[1:]
            found |= {rest[0]} if rest else {alias.name for alias in node.names if alias.name in FLOORS}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("pldebias.")}
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "pldebias").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT / "pldebias")))
def test_rooms_import_only_from_floors_below(path):
    here = room(path)
    if here == "__init__":
        return
    rooms = imported_rooms(path) - {here}
    if "gpu" in rooms:
        top = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ImportFrom)]
        assert path.relative_to(ROOT / "pldebias").as_posix() in LAZY and not any("gpu" in node.module for node in top)
    for there in rooms - {"gpu"}:
        assert FLOORS[there] < FLOORS[here] or (here, there) in SAME_FLOOR, f"{here} (floor {FLOORS[here]}) imports {there}"


STORE = ("schema", "store", "reader", "places", "disk", "lock")
ALLOWED = {("interop", "schema"), ("training", "disk")}  # names and limits; errors of the disk in words


@pytest.mark.parametrize("path", sorted((ROOT / "pldebias").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT / "pldebias")))
def test_arrays_of_a_run_are_touched_in_runs_alone(path):
    """Elsewhere no call of zarr, no part of the store, and no private attribute of a run or a recorder."""
    if (here := room(path)) == "runs":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not any(name.split(".")[0] in ("zarr", "numcodecs") for name in names), f"line {node.lineno} imports zarr"
            parts = {name.removeprefix("pldebias.runs.") for name in names if name.startswith("pldebias.runs.")}
            assert not [part for part in parts & {*STORE} if (here, part) not in ALLOWED], f"line {node.lineno} imports {parts}"
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            owner = node.value.id if isinstance(node.value, ast.Name) else getattr(node.value, "attr", "")
            assert owner not in ("run", "recorder", "Run", "Recorder"), f"line {node.lineno} uses {owner}.{node.attr}"


PAPERS = sorted(
    {path.stem for path in (ROOT / "pldebias/schemes").glob("*.py")} - {"__init__", "base", "part", "step", "options", "flexda"}
)


@pytest.mark.parametrize("paper", PAPERS)
def test_papers_share_formulas_and_never_import_each_other(paper):
    for node in ast.walk(ast.parse((ROOT / f"pldebias/schemes/{paper}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pldebias.schemes"):
            names = {alias.name for alias in node.names} if node.module == "pldebias.schemes" else {node.module.split(".")[2]}
            assert not names & set(PAPERS), f"{paper}.py imports {names}: move what both use to schemes/formulas/"


def test_the_example_method_works(monkeypatch):
    """Run the page's code block as it is printed, register the class, and train a step with it."""
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs/adding-a-method.md").read_text(), re.S).group(1)
    space = {}
    exec(code, space)
    cautious = space["Cautious"]
    monkeypatch.setitem(methods.SCHEMES, "cautious", cautious)
    problem = Problem(3, torch.tensor([9, 3, 1]), 32, 100, 10, 4)
    method = methods.build_method("fixmatch(threshold=0.5)+cautious(strength=1)").setup(problem)
    method.chain[0].frequency.copy_(torch.tensor([0.8, 0.1, 0.1]))

    class Encoder(torch.nn.Module):
        feature_dim = 4

        def forward(self, x):
            return x

    network = Network(Encoder(), 3)
    network.classifier.weight.data = 3 * torch.eye(3, 4)

    class Batch:
        labelled, y, index = {"weak": torch.eye(3, 4)}, torch.arange(3), torch.arange(3)
        unlabelled = {"weak": torch.eye(3, 4), "strong": torch.eye(3, 4)}  # noqa: RUF012

    losses, step = method.losses(Models(network, network), Batch, torch.tensor(0))
    assert torch.isfinite(sum(losses.values()))
    assert step.label.tolist() == [0, 1, 2]
    assert step.mask.tolist() == [0, 1, 1]  # the frequent class would need confidence 1
    assert method.series()["cautious/frequency"].shape == (3,)


def test_every_registered_part_is_documented():
    text = (ROOT / "docs/methods.md").read_text()
    missing = [name for name in (*methods.LEARNERS, *methods.SCHEMES) if f"`{name}`" not in text]
    assert not missing


def test_links_between_pages_lead_somewhere():
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_a_scheme_with_the_hook_names_of_0_1_works_and_is_told_the_new_ones():
    with pytest.warns(DeprecationWarning, match="estimate_state|prior_buffer"):

        class Old(schemes.Scheme):
            name = "old"
            takes_prior = "frequency"

            def recover(self, seen):
                return "as before"

    assert Old().estimate_state(None) == "as before"
    assert Old.prior_buffer == "frequency"
