"""The explorer without a mouse, without sight of colours, without motion: an exported page in Chromium."""

import numpy as np
import pytest
from made_runs import make_run
from test_explorer_page import epoch, opened, painted

import pldebias as pld
from pldebias.plots.style import DIVERGING, GROUPS, SEQUENTIAL, colour_map

pytestmark = pytest.mark.browser

CONTROLS = """root => [...root.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")]
  .filter((node) => node.tabIndex >= 0 && !node.disabled && node.getClientRects().length && getComputedStyle(node).visibility === "visible")
  .map((node, i) => (node.dataset.control ??= String(i)))"""
FOCUSED = """() => { const node = document.activeElement, style = getComputedStyle(node), box = node.getBoundingClientRect();
  return { control: node.dataset?.control, what: `${node.tagName} ${node.className} ${node.getAttribute("aria-label") ?? node.textContent}`,
    ring: (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2) || style.boxShadow !== "none",
    inside: node === document.body || (box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth) }; }"""
# Contrast of every visible text with what is painted behind it (WCAG 2.2, 1.4.3).
CONTRAST = """root => {
  const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return { c: [r, g, b], a }; };
  const light = (c) => { const [r, g, b] = c.map((v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const over = (top, under) => top.c.map((v, i) => top.a * v + (1 - top.a) * under[i]);
  const ground = (node) => { const layers = [];
    for (; node; node = node.parentElement) layers.push(parse(getComputedStyle(node).backgroundColor));
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]); };
  const poor = [];
  for (const node of root.querySelectorAll("*")) {
    if (![...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim()) || !node.getClientRects().length) continue;
    if (node.closest(":disabled, [aria-disabled=true], [aria-hidden=true], option")) continue;
    const under = ground(node), ink = over(parse(getComputedStyle(node).color), under);
    const [a, b] = [light(ink), light(under)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${node.tagName}.${node.className} ${JSON.stringify(node.textContent.slice(0, 30))}: ${ratio.toFixed(2)}`);
  }
  return poor; }"""


@pytest.fixture(scope="module")
def page_of_two(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    a, b = make_run(root / "a", epochs=8), make_run(root / "b", "fixmatch+daso", right=(18, 18, 16, 14, 12, 10), epochs=8)
    return pld.explore(a, b).to_html(root / "two.html")


def tab_through(page, key="Tab"):
    """What has the focus after each press, until it leaves the page's controls or a second round begins."""
    seen = []
    for _ in range(120):
        page.keyboard.press(key)
        focused = page.evaluate(FOCUSED)
        if focused["control"] is None:
            if seen:
                return seen
            continue
        if seen and focused["control"] == seen[0]["control"]:
            return seen
        seen.append(focused)
    pytest.fail("120 presses of Tab did not go once round the page")


def test_every_control_is_reached_with_the_keyboard_and_shows_it(page_of_two):
    with opened(page_of_two) as page:
        controls = page.locator(".pldebias").evaluate(CONTROLS)
        page.locator("body").focus()
        seen = tab_through(page)
        assert [place["control"] for place in seen] == controls  # all of them, in the order in which they are read
        assert len(controls) > 15
        assert [place["what"] for place in seen if not place["ring"]] == []
        assert [place["what"] for place in seen if not place["inside"]] == []
        assert {place["control"] for place in tab_through(page, "Shift+Tab")} <= set(controls)  # no trap on the way back


def test_every_control_and_picture_has_a_name(page_of_two):
    with opened(page_of_two) as page:
        tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
        roles = ("button", "slider", "combobox", "listbox", "searchbox", "textbox", "checkbox", "radio", "img", "image", "canvas", "option")
        found = [node for node in tree if node.get("role", {}).get("value", "").lower() in roles and not node.get("ignored")]
        assert {"button", "slider", "combobox"} <= {node["role"]["value"] for node in found}
        assert [node["role"]["value"] for node in found if not node.get("name", {}).get("value", "").strip()] == []
        buttons = [node["name"]["value"] for node in found if node["role"]["value"] == "button"]
        assert {"play", "next epoch", "previous epoch", "first epoch", "last epoch"} <= set(buttons)


def test_the_status_is_read_out_except_while_playing(page_of_two):
    with opened(page_of_two, reduced_motion="no-preference") as page:
        status, slider = page.locator(".pldebias > [role=status]"), page.locator("input[type=range]").first
        assert status.get_attribute("aria-live") == "polite"
        slider.focus()
        before = status.inner_text()
        page.keyboard.press("Home")
        page.wait_for_function("() => document.querySelector('.pldebias').dataset.epoch == 0")
        assert status.inner_text() != before and status.inner_text().startswith("epoch 0,")
        assert slider.get_attribute("aria-valuetext").startswith("epoch 0 of 7")
        page.keyboard.press("Space")
        assert status.get_attribute("aria-live") == "off"  # nobody can listen to ten epochs a second
        page.keyboard.press("Space")
        assert status.get_attribute("aria-live") == "polite"


def test_choices_say_that_they_are_chosen(page_of_two):
    with opened(page_of_two) as page:
        accepted = page.get_by_role("button", name="accepted", exact=True)
        assert accepted.get_attribute("aria-pressed") == "false"
        accepted.focus()
        before = painted(page)
        page.keyboard.press("Enter")
        assert painted(page) != before and accepted.get_attribute("aria-pressed") == "true"


def test_nothing_moves_by_itself_where_motion_is_unwanted(page_of_two):
    moving = """root => [root, ...root.querySelectorAll("*")].filter((node) => { const style = getComputedStyle(node);
      return style.animationName !== "none" || style.transitionDuration.split(",").some((time) => parseFloat(time) > 0); }).length"""
    with opened(page_of_two, reduced_motion="reduce") as page:
        assert page.locator(".pldebias").evaluate(moving) == 0
        still = epoch(page), painted(page)
        page.wait_for_timeout(600)
        assert (epoch(page), painted(page)) == still
        page.get_by_role("button", name="play").click()  # asked for, it plays
        page.wait_for_function("was => document.querySelector('.pldebias').dataset.epoch != was", arg=str(still[0]))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(page_of_two, scheme):
    with opened(page_of_two, color_scheme=scheme) as page:
        assert page.locator("body").evaluate(CONTRAST) == []


# Machado, Oliveira & Fernandes, A physiologically-based model for simulation of color vision deficiency, 2009: severity 1, on linear RGB.
VISION = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab_of(rgb, kind):
    """CIE L*a*b* of sRGB colours ``[n, 3]`` in [0, 1] as somebody with this vision sees them."""
    rgb = np.asarray(rgb, float)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    if kind != "all cones":
        linear = np.clip(linear @ np.array(VISION[kind]).T, 0, 1)
    xyz = linear @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T / (0.9505, 1.0, 1.089)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


@pytest.mark.parametrize("kind", ["all cones", *VISION])
def test_maps_are_read_with_every_colour_vision(kind):
    from matplotlib.colors import to_rgb

    scale = np.linspace(0, 1, 11)
    light = lab_of(colour_map(SEQUENTIAL)(scale)[:, :3], kind)[:, 0]
    assert (np.diff(light) < -2).all()  # darker is more, at every step
    ends = lab_of(colour_map(DIVERGING)(scale)[:, :3], kind)
    for low, high in ((0, 10), (1, 9), (2, 8), (3, 7)):
        assert np.linalg.norm(ends[low] - ends[high]) > 20  # less and more by the same amount are told apart
    assert (np.diff(ends[:6, 0]) > 0).all() and (np.diff(ends[5:, 0]) < 0).all()
    groups = lab_of([to_rgb(colour) for colour in GROUPS.values()], kind)
    assert all(np.linalg.norm(groups[a] - groups[b]) > 20 for a, b in ((0, 1), (0, 2), (1, 2)))
