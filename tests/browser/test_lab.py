"""The explorer in a real JupyterLab, in real Chromium, with no network but this machine."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

import jupytext
import nbformat
import pytest
from made_runs import make_run
from test_explorer_page import epoch, painted

from benchmarks.browser import chromium
from pldebias import metrics

pytestmark = pytest.mark.browser
TOKEN = "a-token-for-tests"
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"  # the browser finds no machine but this one
CODE = """# %%
import pldebias as pld

view = pld.explore("run", epoch=2)
view

# %%
import time

time.sleep(BUSY)

# %%
print("epoch in the kernel:", view.epoch)
"""


@contextlib.contextmanager
def server(folder):
    """A JupyterLab that listens on this machine alone, in `folder`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name, values in {
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
        "notebook-extension/tracker": {"windowingMode": "none"},  # cells out of sight are drawn too
    }.items():
        path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(values))
    environment = os.environ | {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "JUPYTER_CONFIG_DIR": str(folder / "config")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += [f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={TOKEN}"]
    with open(folder / "server.log", "w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token={TOKEN}", timeout=5).close()
                break
            assert process.poll() is None, (folder / "server.log").read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def notebook_open(browser, address, notebook, workspace="default"):
    """`notebook` opened in JupyterLab with its kernel ready; a request to anywhere else fails the test."""
    page = browser.new_page(viewport={"width": 1500, "height": 1200})
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    try:
        page.goto(f"{address}/lab/workspaces/{workspace}/tree/{notebook}?token={TOKEN}", timeout=90_000)
        page.locator(".jp-Notebook").wait_for(timeout=90_000)
        page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=90_000)
        page.wait_for_timeout(1500)  # Run All is lost when it comes in the very moment at which the kernel becomes idle
        yield page
        assert not [url for url in asked if not url.startswith((address, "data:", "blob:", address.replace("http", "ws")))]
    finally:
        page.close()


@contextlib.contextmanager
def lab(folder, notebook):
    """`notebook` opened in a JupyterLab of its own."""
    with server(folder) as address, chromium(OFFLINE) as browser, notebook_open(browser, address, notebook) as page:
        yield page


def run_all(page, timeout, drawn=".pldebias[data-epoch]"):
    """Run All Cells, and the first explorer (or what `drawn` selects) there; asked for again if the starting kernel lost it."""
    for _ in range(5):
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.wait_for_timeout(2000)
        if any(text.strip() != "[ ]:" for text in page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()):
            break
    page.locator(drawn).first.wait_for(timeout=timeout)


def write_notebook(folder, code):
    notebook = jupytext.reads(code, "py:percent")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    nbformat.write(notebook, folder / "look.ipynb")


def test_scrubbing_while_the_kernel_is_busy(tmp_path):
    """Keys repaint at once though a cell is running, do not reach JupyterLab, and the kernel hears of the epoch afterwards."""
    run = make_run(tmp_path / "run", "fixmatch", epochs=8)
    write_notebook(tmp_path, CODE.replace("BUSY", "6"))
    with lab(tmp_path, "look.ipynb") as page:
        run_all(page, 90_000)
        explorer, status = page.locator(".pldebias").first, page.locator(".pldebias [role=status]").first
        assert epoch(page) == 2
        before, cells = painted(page), page.locator(".jp-Cell").count()
        page.locator(".pldebias input[type=range]").focus()
        for key in ("ArrowRight", "ArrowRight", "ArrowRight"):
            page.keyboard.press(key)
        page.wait_for_function("() => document.querySelector('.pldebias').dataset.epoch == 5", timeout=3000)
        assert painted(page) != before
        told = 100 * float(metrics.balanced_accuracy(run.confusion("sweep", epoch=5)))
        assert f"balanced accuracy {told:.1f} %" in status.inner_text()
        # Keys that cut, convert or retitle cells in JupyterLab's command mode.
        for key in ("x", "m", "1", "d", "d"):
            page.keyboard.press(key)
        assert page.locator(".jp-Cell").count() == cells
        assert page.locator(".jp-MarkdownCell").count() == 0
        page.keyboard.press("Escape")
        assert not explorer.evaluate("node => node.contains(document.activeElement)")
        # The kernel hears of the epoch once it has run what was asked of it before.
        page.get_by_text("epoch in the kernel: 2").wait_for(timeout=30_000)
        page.locator(".jp-CodeCell .jp-InputArea-editor").nth(2).click()
        page.keyboard.press("Shift+Enter")
        page.get_by_text("epoch in the kernel: 5").wait_for(timeout=30_000)
