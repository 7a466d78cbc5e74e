"""What is particular to a learner or scheme stands in its file: no other code knows it by its name."""

import ast
import re
from pathlib import Path

from pldebias.methods import LEARNERS, SCHEMES

ROOT = Path(__file__).parent.parent / "pldebias"
FILES = sorted(path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0] not in ("schemes", "learners"))
ALLOWED = {
    "data/": {"daso"},  # the name of a protocol and of a policy of augmentation
    "presets.py": {"daso", "fixmatch"},  # the same, and the method that a configuration has by default
    "plots/on_matplotlib.py": {"rotation"},  # of a label
    "plots/unlabelled_imbalance.py": {"supervised"},  # the baseline by default
}


def mentioned(path: Path) -> set[str]:
    """Parts that a text of the code is: their name, a series of theirs, or a method with them; docstrings and messages are not read."""
    tree = ast.parse(path.read_text())
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    told |= {id(value) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for value in node.values}
    texts = (
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told
    )
    names = {*LEARNERS, *SCHEMES}
    return {
        name for text in texts if re.fullmatch(r"[\w+/(),=. -]+", text) for name in re.split(r"\([^)]*\)|\+|/.*", text) if name in names
    }


def test_no_code_outside_knows_a_part_by_its_name():
    for path in FILES:
        allowed = {name for place, names in ALLOWED.items() if path.relative_to(ROOT).as_posix().startswith(place) for name in names}
        assert not mentioned(path) - allowed, path


def test_a_name_in_code_is_found(tmp_path):
    path = tmp_path / "code.py"
    lines = (
        "'\"daso\" in a docstring'",
        'x = ["la", "darp/target", "fixmatch+seval(mode=direct)", f"{1} cb"]',
        'raise ValueError("with saw")',
    )
    path.write_text("\n".join(lines))
    assert mentioned(path) == {"la", "darp", "fixmatch", "seval"}
