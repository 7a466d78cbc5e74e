"""The embedding view in a real JupyterLab: linked with the explorer while the kernel is busy, and heard by the kernel afterwards."""

import pytest
from made_runs import make_snapshots
from test_lab import lab, run_all, write_notebook

pytestmark = pytest.mark.browser
CODE = """# %%
import pldebias as pld

explorer = pld.explore("run", link="both")
explorer

# %%
view = pld.embedding_view("run", per_class=None, link="both")
view

# %%
heard = []
view.observe(lambda change: heard.append(len(change.new)), "selection")

import time

time.sleep(8)

# %%
print("kernel:", view.epoch, explorer.epoch, view.cell, len(view.selection), heard)
"""


def test_views_are_linked_without_the_kernel_and_the_kernel_hears_of_it(tmp_path):
    run = make_snapshots(tmp_path / "run")
    write_notebook(tmp_path, CODE)
    with lab(tmp_path, "look.ipynb") as page:
        run_all(page, 120_000)
        embedding = page.locator(".pld-embedding[data-epoch]")
        embedding.wait_for(timeout=60_000)
        cells = page.locator(".jp-Cell").count()
        embedding.locator("input").focus()
        page.keyboard.press("Home")
        page.wait_for_function("() => document.querySelector('.pldebias').dataset.epoch == 0", timeout=5000)
        embedding.get_by_label("true", exact=True).select_option("5")
        embedding.locator(".pld-points").focus()
        for key in ("s", "n", "0", "b", "x", "d", "d"):  # some do something here, and all of them do in JupyterLab's command mode
            page.keyboard.press(key)
        embedding.locator("[role=status]", has_text="20 selected").wait_for()
        assert page.locator(".jp-Cell").count() == cells
        page.get_by_text("kernel: 3 3 [] 0 []").wait_for(timeout=60_000)  # it was busy all the time
        page.locator(".jp-CodeCell .jp-InputArea-editor").nth(3).click()
        page.keyboard.press("Shift+Enter")
        page.get_by_text("kernel: 0 0 [5, -1] 20 [20]").wait_for(timeout=30_000)
        assert (run.true_labels == 5).sum() == 20
