"""What a stranger gets: dependency lists that agree, a complete wheel, a quick import, a README that tells the truth."""

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"torch": "pytorch", "playwright": "playwright-python"}  # all others are called the same on conda-forge
IMPORT_NAMES = {"lazy-loader": "lazy_loader", "pillow": "PIL", "scikit-learn": "sklearn", "umap-learn": "umap"}
NEVER_IMPORTED = {
    "pytest-xdist",  # pytest's option -n
    "ipywidgets",  # anywidget's and plotly's widgets are drawn through it
}
# Imported here and there, and always installed by a declared package that builds on them.
BROUGHT_BY = {
    "triton": "torch",
    "google": "tensorboard",  # protobuf, in which its event files are written
    "IPython": "jupyterlab",
    "jinja2": "nbconvert",
    "nbformat": "nbclient",
    "google_crc32c": "zarr",
    "numcodecs": "zarr",
    "packaging": "pytest",
    "traitlets": "anywidget",
    "yaml": "jupytext",
}


def requirements(*extras: str) -> dict[str, Requirement]:
    """Run-time dependencies and those of `extras`, by name; an extra that names another (`pldebias[test]`) brings it along."""
    found, lines = {}, list(PROJECT["dependencies"])
    pending = list(extras)
    while pending:
        lines += PROJECT["optional-dependencies"][pending.pop()]
    for line in lines:
        requirement = Requirement(line)
        if requirement.name == PROJECT["name"]:
            found |= requirements(*requirement.extras)
        else:
            found[canonicalize_name(requirement.name)] = requirement
    return found


def imports(folder: str) -> dict[str, str]:
    """Top-level names that the Python files of a folder import, with one place of each."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            found |= {name.split(".")[0]: f"{path.relative_to(ROOT)}:{node.lineno}" for name in names}
    return found


def features() -> dict[str, str | None]:
    """Packages that only some features need, each with the extra that the message names."""
    found = {}
    for path in (ROOT / "pldebias").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "needed":
                _, extra, *modules = (ast.literal_eval(argument) for argument in call.args)
                found |= {name.partition(":")[0].partition(".")[0]: extra for name in modules}
    return found


def committed_files() -> list[Path]:
    """Files that git knows; without git (a source archive) everything that is not obviously produced."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode == 0:
        names = [name for name in listing.stdout.split("\0") if name]
    else:
        produced = re.compile(r"(^|/)(\.|__pycache__|build/|dist/|site/|runs/|[^/]*\.egg-info/)")
        names = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file()]
        names = [name for name in names if not produced.search(name)]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def text_of(path: Path) -> str | None:
    """The text of a file, None if it is binary."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


# ---- dependencies ----------------------------------------------------------------------------------------------------


def test_every_dependency_has_a_lower_bound_and_nothing_else():
    for name, requirement in requirements("dev").items():
        operators = [specifier.operator for specifier in requirement.specifier]
        assert operators == [">="] and requirement.url is None, f"{name}: {requirement} should be of the form name>=version"


def test_environment_yml_equals_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    lines = [line for line in environment["dependencies"] if isinstance(line, str)]
    here = {str(Requirement(line)) for line in lines} - {"pip"}
    there = {f"{CONDA_NAMES.get(name, name)}{requirement.specifier}" for name, requirement in requirements("dev").items()}
    assert here == there | {f"python{PROJECT['requires-python']}"}
    assert environment["name"] == PROJECT["name"]
    assert environment["dependencies"][-1] == {"pip": ["-e ."]}


def test_constraints_pin_every_dependency_at_or_above_its_bound():
    pins: dict[str, list[Requirement]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        pin = Requirement(line)
        assert pin.url is None and [specifier.operator for specifier in pin.specifier] == ["=="], line
        pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    for name, requirement in requirements("dev").items():
        assert name in pins, f"{name} is not pinned; run: make constraints"
        for pin in pins[name]:
            version = next(iter(pin.specifier)).version
            assert requirement.specifier.contains(version), f"{pin} does not satisfy {requirement}; run: make constraints"
            assert Version(version).local is None, f"{pin}: a local version exists on one index only"


def test_constraints_name_one_version_for_each_machine():
    lines = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines()]
    for python in ("3.11.5", "3.12.0", "3.13.0"):
        for platform, name in (("linux", "posix"), ("darwin", "posix"), ("win32", "nt")):
            machine = {
                "python_version": python.rsplit(".", 1)[0],
                "python_full_version": python,
                "sys_platform": platform,
                "os_name": name,
                "platform_machine": "x86_64",
                "implementation_name": "cpython",
            }
            chosen = [pin.name for pin in lines if pin.marker is None or pin.marker.evaluate(machine)]
            assert len(chosen) == len(set(chosen)), (python, platform)
            assert ("triton" in chosen) == (platform == "linux")


@pytest.mark.parametrize(("folder", "extras"), [("pldebias", ["all"]), ("tests", ["test"]), ("benchmarks", ["test"])])
def test_every_import_is_a_declared_dependency(folder, extras):
    declared = {IMPORT_NAMES.get(name, name) for name in requirements(*extras)}
    own = {PROJECT["name"], "conftest", "tests", "benchmarks", "refresh"} | {path.stem for path in (ROOT / folder).rglob("*.py")}
    for name, where in imports(folder).items():
        known = name in declared | own | set(sys.stdlib_module_names) or BROUGHT_BY.get(name) in declared
        assert known, f"{where} imports {name}, which pyproject.toml does not declare"


def test_the_fast_suite_names_what_exists():
    named = re.search(r"^FAST = (.*?[^\\])\n", (ROOT / "Makefile").read_text(), re.MULTILINE | re.DOTALL)[1]
    assert all((ROOT / path).exists() for path in re.findall(r"tests/\S+", named))


def test_one_place_starts_a_browser():
    """Only it knows where to look, and what to say where there is none."""
    files = [path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py") if path != Path(__file__)]
    users = {path.name for path in files if "sync_playwright" in path.read_text()}
    assert users == {"browser.py"}


def test_no_dependency_is_declared_in_vain():
    used = set(imports("pldebias")) | set(imports("notebooks")) | {IMPORT_NAMES.get(name, name) for name in features()}
    assert {IMPORT_NAMES.get(name, name) for name in requirements("all")} - used <= NEVER_IMPORTED


def test_a_missing_package_is_named_with_the_extra_that_has_it():
    own = requirements()
    for package, extra in features().items():
        brought = requirements(extra).keys() - own if extra else {package}
        assert package in brought or BROUGHT_BY.get(package) in brought, (package, extra)
    assert set(features().values()) >= PROJECT["optional-dependencies"].keys() - {"all", "test", "docs", "dev"}


# ---- what is installed -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """The wheel of the source archive of this tree, built without a network and without leaving anything in the tree."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT / "pldebias", tree / "pldebias", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    build = "import sys, setuptools.build_meta as b; getattr(b, sys.argv[1])(sys.argv[2])"
    run([sys.executable, "-c", build, "build_sdist", out], tree)
    (archive,) = out.glob("*.tar.gz")
    shutil.unpack_archive(archive, out, filter="data")
    run([sys.executable, "-c", build, "build_wheel", out], out / archive.name.removesuffix(".tar.gz"))
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def run(command: list, folder: Path) -> str:
    """Standard output of a command that must succeed, without this tree on Python's path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_the_wheel_runs_the_demo_in_an_environment_of_its_own(wheel, tmp_path):
    """Installed by pip outside the clone; its dependencies are those of this environment, which have no other pldebias."""
    venv.create(tmp_path / "env", with_pip=True, symlinks=os.name != "nt")
    scripts = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    python, work = scripts / "python", tmp_path / "work"
    work.mkdir()
    run([python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--disable-pip-version-check", wheel.filename], work)
    (site,) = json.loads(run([python, "-c", "import json, site; print(json.dumps(site.getsitepackages()[-1:]))"], work))
    Path(site, "dependencies.pth").write_text("\n".join(path for path in sys.path if "packages" in path))
    size = ["--steps", "20", "--m1", "100", "--gamma-u", "2", "--out", "runs"]
    run([scripts / "pldebias", "train", "fixmatch", "--data", "glyphs-lt", *size], work)
    page = "import pldebias as pld; run = pld.open_run('runs/glyphs-lt/fixmatch/s0')"
    page += "; pld.explore(run).to_html('page.html'); print(pld.__file__)"
    where = run([python, "-c", page], work).strip()
    assert Path(where).is_relative_to(site) and (work / "page.html").stat().st_size > 50_000, where
    assert "fixmatch" in run([scripts / "pldebias", "runs"], work)


def test_wheel_holds_every_module_and_every_asset(wheel):
    files = [p for p in (ROOT / "pldebias").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    expected = {str(p.relative_to(ROOT)) for p in files}
    held = {name for name in wheel.namelist() if name.startswith("pldebias/")}
    assert held == expected
    assert {"pldebias/widgets/js/explorer.js", "pldebias/widgets/explorer.css", "pldebias/cli.py"} <= held


def test_wheel_names_its_licence_and_command(wheel):
    held = {name.split("/", 1)[1]: name for name in wheel.namelist() if ".dist-info/" in name}
    assert "licenses/LICENSE" in held
    assert b"pldebias = pldebias.cli:main" in wheel.read(held["entry_points.txt"])
    assert b"License-Expression: MIT" in wheel.read(held["METADATA"])


def test_import_is_lazy():
    code = "import sys, pldebias; print([m for m in ('torch', 'pandas', 'matplotlib', 'sklearn', 'xarray', 'zarr') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_every_public_name_exists():
    package = importlib.import_module("pldebias")
    assert len(package.__all__) == len(set(package.__all__))
    for name in package.__all__:
        assert getattr(package, name) is not None, name
    assert package.__all__ == dir(package)


def test_version_is_said_once():
    import pldebias

    assert pldebias.__version__ in (PROJECT["version"], "0.0.0"), "installed from another pyproject.toml; run: make setup"
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


# ---- what is committed -----------------------------------------------------------------------------------------------


def test_no_committed_file_names_this_machine_or_an_index():
    machine = {ROOT, Path.home()}
    for variable in ("PLDEBIAS_GOLDEN", "PLDEBIAS_CIFAR10", "PLDEBIAS_DATA"):
        if os.environ.get(variable):
            machine.add(Path(os.environ[variable]).resolve().parent)
    # A folder directly under the root (say /data) is too common a word to be somebody's own, a home is not.
    places = "|".join(re.escape(str(path)) for path in machine if len(path.parts) > 2 or path == Path.home() != Path("/"))
    own = re.compile(rf"(?<![\w.])(?:{places})(?=[/\"'\s:]|$)" + r"|(?<![\w.:/])/(?:home|Users|mnt|media)/\w")
    index = re.compile(r"--(?:extra-)?index-url|--find-links|https?://\S+/simple\b|\bfiles\.python" + r"hosted\.org")
    found = []
    for path in committed_files():
        if path == Path(__file__) or (text := text_of(path)) is None:
            continue
        found += [
            f"{path.relative_to(ROOT)}:{number}: {match[0]}"
            for number, line in enumerate(text.splitlines(), 1)
            for match in [own.search(line) or index.search(line)]
            if match
        ]
    assert not found, "\n".join(found)


def test_committed_files_stay_small():
    large = {str(path.relative_to(ROOT)): path.stat().st_size for path in committed_files() if path.stat().st_size > 3_000_000}
    assert not large, f"files over 3 MB belong into a release, not into the history: {large}"


def test_notebooks_are_light_runnable_and_without_widget_state():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert path.stat().st_size < 1_000_000, path.name
        notebook = json.loads(path.read_text())
        assert notebook["metadata"]["kernelspec"]["name"] == "python3", f"{path.name}: without it JupyterLab asks for a kernel first"
        assert "widgets" not in notebook["metadata"], f"{path.name} carries widget state"
        for cell in notebook["cells"]:
            kinds = [output["output_type"] for output in cell.get("outputs", [])]
            assert "error" not in kinds, f"{path.name} was committed with an error"


# ---- files for a public host ------------------------------------------------------------------------------------------


def test_the_citation_is_complete_and_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    required = {"cff-version", "message", "title", "authors"}  # of the format, version 1.2.0
    known = required | {"type", "version", "license", "abstract", "keywords", "repository-code", "url", "doi", "date-released"}
    assert required <= citation.keys() <= known and citation["cff-version"] == "1.2.0"
    assert all(author.keys() & {"name", "family-names"} for author in citation["authors"])
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])


def test_the_workflow_checks_what_it_should():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    jobs = workflow["jobs"]
    assert workflow[True].keys() >= {"push", "pull_request"}, "YAML reads the key `on` as true"
    assert jobs.keys() == {"lint", "test", "oldest", "package"}
    rows = jobs["test"]["strategy"]["matrix"]["include"]
    assert {row["os"].partition("-")[0] for row in rows} == {"ubuntu", "macos", "windows"}
    assert {"--upgrade", "-c constraints.txt"} == {row["install"] for row in rows}
    lowest = Version(PROJECT["requires-python"].removeprefix(">="))
    assert min(Version(row["python"]) for row in rows).release == lowest.release[:2]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for job in jobs.values():
        assert job["timeout-minutes"] and job["steps"][0]["uses"].startswith("actions/checkout@")
        for step in job["steps"]:
            assert step.keys() & {"uses", "run"}
            assert set(re.findall(r"\bmake (?:-s )?([a-z-]+)", step.get("run", ""))) <= targets


# ---- what the pages say ----------------------------------------------------------------------------------------------

PAGES = [
    path
    for path in [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")), *sorted((ROOT / "docs").glob("*.md"))]
    if path.exists()
]


def blocks(page: Path, *languages: str) -> list[str]:
    """Fenced code blocks of a page in one of the languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [body for language, body in found if language in languages]


def shell_lines(page: Path) -> list[str]:
    """Commands of a page, from shell blocks (continued lines joined) and inline code."""
    lines = "\n".join(blocks(page, "bash", "sh", "shell", "console")).replace("\\\n", " ").splitlines()
    inline = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", page.read_text())
    return [line.strip().removeprefix("$ ") for line in [*lines, *inline]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_of_the_pages_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in shell_lines(page):
        for name in re.findall(r"(?:^|&& |; )make ([a-z-]+)", line):
            assert name in targets, f"{page.name}: make {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_the_pages_exist(page):
    from typer.main import get_command

    from pldebias.cli import app

    commands = get_command(app).commands
    for line in shell_lines(page):
        for call in re.findall(r"(?:^|&& |; )pldebias ([^;&|#]*)", line):
            name, *words = call.split()
            if name.startswith("-"):
                continue
            assert name in commands, f"{page.name}: pldebias {name}"
            known = {option for parameter in commands[name].params for option in [*parameter.opts, *parameter.secondary_opts]} | {"--help"}
            takes_any = commands[name].ignore_unknown_options
            for word in words:
                if word.startswith("--"):
                    assert takes_any or word.split("=")[0] in known, f"{page.name}: pldebias {name} {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_of_the_pages_uses_what_exists(page):
    import pldebias

    for body in blocks(page, "python"):
        tree = ast.parse(body)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("pld", "pldebias"):
                assert hasattr(pldebias, node.attr), f"{page.name}: pld.{node.attr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_the_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        if not re.match(r"[a-z]+:|#", target):
            assert (page.parent / target.split("#")[0]).exists(), f"{page.name}: {target}"
