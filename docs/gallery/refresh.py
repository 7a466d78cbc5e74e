"""Execute every script of this folder and write ``docs/gallery.md`` with its lines, its image and its caption.

    python docs/gallery/refresh.py RUNS                     # all of them
    python docs/gallery/refresh.py RUNS carpet blending     # these; the others keep their image and caption

RUNS holds ``glyphs-lt/`` (seeds 0, 1, 2 of five methods) and ``ratios/`` (unlabelled sets of several ratios); the page says how they were
trained. Scripts take the folder of runs and that of images, so that they can be copied out and changed.
"""

import contextlib
import io
import re
import runpy
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ORDER = (
    *("carpet", "confusion", "confusion_epochs", "confusion_difference", "recall_precision", "blending", "training_curves"),
    "label_distribution",
    *("learned_state", "estimated_prior", "accuracy_gamma", "unlabelled_imbalance", "reliability", "threshold_sweep", "what_if"),
    *("embedding", "flows", "learning_order", "samples"),
)
TOP = """# Gallery

Every figure, with the lines that made it. Those that compare take a run, a path, a dict from labels to runs (a list or a folder under a
label is its seeds) or rows of `pld.catalogue`; they come in the widths of a two-column paper, as PDF with embedded TrueType fonts, SVG or
PNG, and say what their caption must say (`figure.caption`). Every figure gives back the numbers that it drew (`figure.values`,
`figure.data`); `backend="none"` gives them without drawing, and `backend="plotly"` draws the same numbers for a pointer
([how](publishing.md#figures)). Runs that cannot be compared are refused, with the reason.

The runs shown are small ones, trained for this page on a CPU; they show what the figures look like, not which method is better,
and another CPU gives other digits:

    pldebias train fixmatch fixmatch+daso fixmatch+debiaspl fixmatch+seval fixmatch+adello \\
        --seed 0 --seed 1 --seed 2 --steps 800 --out runs
    for g in 1 5 25 100; do pldebias train supervised fixmatch fixmatch+daso --seed 0 --seed 1 --seed 2 --steps 400 --gamma-u $g \\
        --out runs/ratios/$g; done    # and with --reverse-unlabelled for 25 and 100

The scripts are in [gallery/](gallery/); `python docs/gallery/refresh.py runs` executes all of them and writes this page.
"""


def lines(script: Path) -> tuple[str, str, str]:
    """Headline, explanation and code of a script, without its imports and arguments."""
    text = script.read_text(encoding="utf-8")
    headline, _, rest = re.match(r'"""(.*?)"""', text, re.S)[1].strip().partition("\n")
    return headline.rstrip("."), " ".join(rest.split()), text.partition("sys.argv[2])\n")[2].strip()


def page(captions: dict[str, str]) -> str:
    """The gallery, from each script's output."""
    others = sorted(set(captions) - set(ORDER) - {"table"})
    parts = [TOP]
    for name in (*ORDER, *others, "table"):
        headline, explanation, code = lines(HERE / f"{name}.py")
        shown = f"![{headline}](images/{name}.png)\n\n" if name != "table" else ""
        parts.append(f"## {headline}\n\n{explanation}\n\n```python\n{code}\n```\n\n{shown}{captions[name].strip()}\n")
    return "\n".join(parts)


def scripts() -> list[Path]:
    """All but this one."""
    return sorted(path for path in HERE.glob("*.py") if path.name != "refresh.py")


def execute(script: Path, runs: Path, out: Path) -> str:
    """What a script prints."""
    told, before = io.StringIO(), sys.argv
    sys.argv = [str(script), str(runs), str(out)]
    try:
        with contextlib.redirect_stdout(told):
            runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv = before
    return told.getvalue()


def known() -> dict[str, str]:
    """Captions that the page has now, by script."""
    text = (HERE.parent / "gallery.md").read_text(encoding="utf-8")
    found = dict(re.findall(r"^!\[[^]]*\]\(images/(\w+)\.png\)\n\n(.*?)(?=\n## |\Z)", text, re.M | re.S))
    return found | {"table": text.rpartition("```\n\n")[2]}


def main() -> None:
    runs, images, named = Path(sys.argv[1]).resolve(), HERE.parent / "images", sys.argv[2:]
    if unknown := set(named) - {script.stem for script in scripts()}:
        sys.exit(f"no script {', '.join(sorted(unknown))} in {HERE.name}; there are {', '.join(script.stem for script in scripts())}")
    images.mkdir(exist_ok=True)
    captions = known() if named else {}
    with tempfile.TemporaryDirectory() as folder:
        captions |= {script.stem: execute(script, runs, Path(folder)) for script in scripts() if script.stem in named or not named}
        for made in sorted(Path(folder).glob("*.png")):
            (images / made.name).write_bytes(_small(made))
    (HERE.parent / "gallery.md").write_text(page(captions), encoding="utf-8")


def _small(path: Path) -> bytes:
    """The image with a palette, which makes figures a third as large."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
