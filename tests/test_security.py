"""What the threat model promises of the whole package: nothing runs what it reads, the notebook server is for its owner alone."""

import ast
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "pldebias").rglob("*.py"))
RUNS_CODE = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "runpy", "code", "codeop", "pty"}
CALLS = {"eval", "exec", "compile", "__import__", "breakpoint"}


def calls(path: Path):
    """Every call in a file: its name as it is written (``np.load``), and its keywords."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            keywords = {word.arg: getattr(word.value, "value", ...) for word in node.keywords}
            yield ast.unparse(node.func), keywords, f"{path.relative_to(ROOT)}:{node.lineno}"


def test_nothing_runs_what_it_reads():
    """No pickle and its kin, no evaluation of text, no shell; torch and numpy load arrays and nothing else."""
    wrong = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            wrong += [f"{path.relative_to(ROOT)}:{node.lineno} imports {name}" for name in names if name.split(".")[0] in RUNS_CODE]
        for name, keywords, place in calls(path):
            leaf = name.rpartition(".")[2]
            if name in CALLS or name in ("os.system", "os.popen", "yaml.load", "yaml.unsafe_load") or keywords.get("shell"):
                wrong.append(f"{place} calls {name}")
            if leaf == "load" and name.startswith("torch.") and keywords.get("weights_only") is not True:
                wrong.append(f"{place}: torch.load without weights_only=True")
            if keywords.get("allow_pickle") or leaf in ("read_pickle", "add_safe_globals"):
                wrong.append(f"{place} unpickles")
            if leaf in ("extractall", "unpack_archive"):
                wrong.append(f"{place} unpacks an archive, which may name paths outside its folder")
    assert not wrong, "\n".join(wrong)
    assert {"torch.load", "np.load"} <= {name for path in SOURCES for name, *_ in calls(path)}  # or this looks at nothing


def named_tests() -> set[str]:
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        found |= {node.name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("page", ["security.md", "run-store.md"])
def test_every_promise_names_tests_that_exist(page):
    """In the last column of each table of promises; headings inside a table have none."""
    tests, named = named_tests(), []
    for table in re.findall(r"(?:^\|.*\n)+", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.MULTILINE):
        head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
        if head[-1] in ("test", "tests"):
            named += [re.findall(r"`(test_\w+)`", row[-1]) for row in rows if not row[0].startswith("**")]
    assert len(named) > 20 and all(named)
    assert not {name for row in named for name in row} - tests


# -- the notebook server ----------------------------------------------------------------------------------------------------


def listening(port: int) -> set[str]:
    """Addresses of this machine on which something listens at a port, as the kernel writes them (Linux)."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, _, number = local.rpartition(":")
            if state == "0A" and int(number, 16) == port:
                found.add(address)
    return found


def answer(url: str, **headers) -> int:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=20) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at Linux's table of connections")
def test_the_lab_is_for_this_machine_and_behind_a_token(tmp_path):
    (tmp_path / "notebooks").mkdir()
    for name in ("config", "runtime"):
        (tmp_path / name).mkdir()
    # Tests may run as root, which Jupyter refuses, and no browser is wanted; what matters is told against the command line, and loses.
    config = {"ServerApp": {"allow_root": True, "open_browser": False, "ip": "0.0.0.0"}}
    (tmp_path / "config" / "jupyter_server_config.json").write_text(json.dumps(config))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    environment |= {f"JUPYTER_{kind.upper()}_DIR": str(tmp_path / kind) for kind in ("config", "runtime")}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from pldebias.cli import main; main()", "lab", str(tmp_path / "notebooks"), "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=ROOT, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not (told := list((tmp_path / "runtime").glob("jpserver-*.json"))) and time.monotonic() < deadline:
            assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
            time.sleep(0.1)
        (path,) = told
        while not (text := path.read_text()) and time.monotonic() < deadline:
            time.sleep(0.1)
        server = json.loads(text)
        assert len(server["token"]) >= 40 and path.stat().st_mode & 0o077 == 0
        contents = f"http://127.0.0.1:{server['port']}/api/contents"
        while True:
            try:
                assert answer(contents) == 403
                break
            except urllib.error.URLError:  # its port is open before it answers
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert listening(server["port"]) == {"0100007F"}  # 127.0.0.1
        assert answer(contents, Authorization="token wrong") == 403
        assert answer(contents, Authorization=f"token {server['token']}") == 200
        assert answer(contents, Authorization=f"token {server['token']}", Host="elsewhere.example") == 403  # rebound names
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def test_make_lab_says_the_same():
    recipe = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "/jupyter lab" in line)
    assert "--ip=127.0.0.1" in recipe and "token" not in recipe.lower() and "password" not in recipe.lower()
