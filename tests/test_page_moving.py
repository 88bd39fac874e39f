"""Moving through the page: following, finding, the minimap, saving, links, the heatmap."""

import base64
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any
from xml.etree import ElementTree

import pytest

import test_page
from test_page import Browser, Net, residual_net, two_layers
from tinygrad_cv.viz.data import Summary, Trace
from tinygrad_cv.viz.heatmaps import MEASURES, _name_of, _rows
from tinygrad_cv.viz.page import PROGRAM, beside, page

pytestmark = pytest.mark.host
chrome, browser = test_page.chrome, test_page.browser

CAMERA = "return [camera.x, camera.y, camera.scale]"


def diamond() -> Trace:
    """x → a → (b, c) → d, and e → f apart from them."""
    net = Net("diamond")
    x = net.leaf("input", "x", 4, 8)
    a = net.op("relu", x, name="a")
    b, c = net.op("exp", a, name="b"), net.op("sin", a, name="c")
    net.op("add", b, c, name="d")
    net.op("neg", net.leaf("input", "e", 4, 8), name="f")
    return net.trace


def reach(trace: Trace, start: int, backwards: bool) -> set[int]:
    """What is met along the edges, by the fixed point of one step."""
    met = {start}
    pairs = [(e.target, e.source) if backwards else (e.source, e.target) for e in trace.edges]
    while more := {b for a, b in pairs if a in met} - met:
        met |= more
    return met


def lit(browser: Browser) -> set[str]:
    return set(browser.all(".following .box.lit"))


def tab_stops(browser: Browser) -> list[str]:
    return browser.all("#view [tabindex='0']")


def test_no_name_of_the_program_is_declared_twice() -> None:
    """Its files share one scope, in which a later function would silently replace an earlier."""
    declared = re.compile(r"^(?:const|let|(?:async )?function) (\w+)", re.M)
    names = Counter(name for file in PROGRAM for name in declared.findall(beside(file)))
    assert [name for name, count in names.items() if count > 1] == []


# ----- following ---------------------------------------------------------------------------------


def test_a_click_lights_what_feeds_a_box_and_what_it_feeds(browser: Browser) -> None:
    trace = diamond()
    browser.show(trace)
    assert lit(browser) == set()
    for node in trace.nodes:
        browser.click(f"#n{node.id}")
        expected = reach(trace, node.id, True) | reach(trace, node.id, False)
        assert lit(browser) == {f"n{i}" for i in expected}
    browser.click("#n2")  # b: the way through c is no part of it
    ends = browser.run(
        "return graph.edges.filter(({valueLine}) => valueLine.classList.contains('lit'))"
        ".map(({from, to}) => `${from.id} ${to.id}`).sort()"
    )
    assert ends == ["n0 n1", "n1 n2", "n2 n4"]
    style = "return Number(getComputedStyle(document.querySelector('#n5')).opacity)"
    assert browser.run(style) < 0.5
    browser.press("Escape")
    assert lit(browser) == set()
    assert browser.run(style) == 1


def test_light_holds_for_modules_and_after_folding(browser: Browser) -> None:
    browser.show(residual_net(2).trace)
    browser.click("#m1 .heading")  # the first block is folded, and all hangs together
    assert "m1" in lit(browser)
    browser.click("#m1")
    browser.run("choose('m1')")  # the open module: its boxes, what feeds them and what they feed
    boxes = set(browser.all(".box"))
    leaves = {f"n{node.id}" for node in residual_net(2).trace.nodes if node.kind == "parameter"}
    assert lit(browser) <= boxes
    assert boxes - lit(browser) <= leaves  # the weights of the second block feed nothing above


def test_inputs_and_consumers_are_links(browser: Browser) -> None:
    trace = two_layers().trace
    browser.show(trace, [2])
    browser.click("#n4")
    titles = browser.all("#details .links .place", "title")
    assert titles == ["show n3", "show n7"]
    browser.click("#details .links .place[title='show n7']")  # in a folded module
    assert browser.all(".box.chosen") == ["n7"]
    assert "m2" not in browser.all(".box")
    assert browser.run(test_page.IN_VIEW, "#n7")
    assert browser.run("return document.activeElement.id") == "n7"
    assert browser.all("[aria-current]") == ["n7"]
    assert browser.all("#n7", "aria-description") == ["fed by h = relu; feeds loss = mean"]
    browser.run("choose('m1')")  # of a module: what goes in and out
    assert browser.all("#details .links .place", "title") == ["show n0", "show n4"]


def test_arrow_keys_walk_the_edges(browser: Browser) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser.show(diamond())

    def press(*keys: str) -> str:
        for key in keys:
            ActionChains(browser.driver, duration=0).send_keys(key).perform()
        focused: str = browser.run("return document.activeElement.id")
        return focused

    assert len(tab_stops(browser)) == 1
    browser.run("byId('n4').focus()")
    assert tab_stops(browser) == ["n4"]
    up, down, left, right = Keys.ARROW_UP, Keys.ARROW_DOWN, Keys.ARROW_LEFT, Keys.ARROW_RIGHT
    first = press(up)
    assert first in ("n2", "n3")
    other = press(right if first == "n2" else left)
    assert {first, other} == {"n2", "n3"}
    assert press(down) == "n4"
    assert press(up) == other  # back to where one came from
    assert press(up) == "n1"
    assert press(down) == other
    assert press(up, up, up) == "n0"
    assert browser.run("return chosen") is None
    press(Keys.ENTER)
    assert browser.all(".box.chosen") == ["n0"]
    press(down)
    assert browser.all(".box.chosen") == tab_stops(browser) == ["n1"]


def test_arrows_step_through_time_outside_the_graph_and_with_shift(browser: Browser) -> None:
    browser.show(two_layers(5).trace)
    at = "return now.place"
    browser.press("ArrowRight")
    assert browser.run(at) == 1
    browser.run("byId('n4').focus()")
    browser.press("ArrowRight", "#n4")
    assert browser.run(at) == 1
    browser.run(
        "byId('n4').dispatchEvent(new KeyboardEvent('keydown',"
        " {key: 'ArrowRight', shiftKey: true, bubbles: true}))"
    )
    assert browser.run(at) == 2
    browser.press("ArrowUp", "#n4")
    assert browser.run("return document.activeElement.id") == "n3"
    browser.press("?")
    assert browser.run("return help.open")
    assert "with shift: step through time" in browser.text("#help")
    browser.click("#help button")
    assert not browser.run("return help.open")


def test_a_key_folds_the_module_around_a_box(browser: Browser) -> None:
    browser.show(residual_net(2).trace)
    assert "m1" not in browser.all(".box")
    browser.press("f", "#n4")
    assert "m1" in browser.all(".box")
    assert browser.run("return document.activeElement.id") == "m1"


def test_focus_pans_the_view(browser: Browser) -> None:
    net = residual_net(12)
    browser.show(net.trace)
    last = f"#n{len(net.trace.nodes) - 1}"
    assert not browser.run(test_page.IN_VIEW, last)
    browser.run("document.querySelector(arguments[0]).focus({preventScroll: true})", last)
    assert browser.run(test_page.IN_VIEW, last)


# ----- finding -----------------------------------------------------------------------------------


def listed(browser: Browser) -> list[str]:
    return list(
        browser.run(
            "return [...document.querySelectorAll('#results [role=option]')]"
            ".map((item) => item.innerText.replaceAll('\\n', ' '))"
        )
    )


def test_all_words_must_match_and_the_closest_is_first(browser: Browser) -> None:
    net = Net()
    x = net.leaf("input", "x", 4, 32)
    with net.module("body.conv2d_like", "Other"):
        net.op("tanh", net.op("relu", x, shape=(4, 32)), shape=(4, 16))
    net.op("conv2d", x, shape=(4, 320))
    net.op("conv2d", x, shape=(4, 32), name="wanted")
    net.op("conv2d", x, shape=(4, 16))
    browser.show(net.trace)
    browser.type("conv2d 32")
    assert listed(browser) == [
        "wanted = conv2d float32 (4, 32)",
        "conv2d float32 (4, 320)",
        "relu float32 (4, 32) body.conv2d_like Other",
    ]  # not the one of 16 columns: 32 is no number in float32
    assert browser.text("#found") == "3 found"
    browser.type("conv2d nowhere")
    assert browser.text("#found") == "no match"
    assert browser.run("return results.hidden")


def test_the_list_is_moved_through_by_keys_and_unfolds_what_is_chosen(browser: Browser) -> None:
    browser.show(residual_net(2).trace, [1, 4])
    browser.run("search.focus()")
    browser.type("relu float32")
    assert browser.all("#search", "aria-expanded") == ["true"]
    browser.press("ArrowDown", "#search")
    browser.press("ArrowDown", "#search")
    assert browser.all("#search", "aria-activedescendant") == ["result1"]
    assert browser.all("#results [aria-selected=true]") == ["result1"]
    browser.press("ArrowUp", "#search")
    browser.press("ArrowUp", "#search")
    assert len(listed(browser)) == 4
    assert browser.all("#search", "aria-activedescendant") == ["result3"]
    browser.press("ArrowDown", "#search")
    assert {"m1", "m4"} <= set(browser.all(".box"))
    browser.press("Enter", "#search")
    assert browser.all(".box.chosen") == browser.all(".hit") == ["n4"]
    assert "m4" in browser.all(".box")  # what does not hide it stays folded
    assert browser.run(test_page.IN_VIEW, "#n4")
    assert browser.run("return results.hidden")
    assert browser.all("#search", "aria-expanded") == ["false"]


def test_a_result_is_chosen_by_the_pointer_and_a_module_is_one_too(browser: Browser) -> None:
    browser.show(residual_net(2).trace, [0])
    browser.type("blocks.1")
    assert listed(browser)[0] == "blocks.1 Block module ResNet"
    browser.run("results.firstChild.dispatchEvent(new PointerEvent('pointerdown'))")
    assert browser.run("return chosen") == "m4"
    assert browser.text("#details").startswith("×\nblocks.1 Block")


# ----- the minimap -------------------------------------------------------------------------------


def test_the_minimap_shows_what_is_seen_where_that_is_not_all(browser: Browser) -> None:
    browser.show(residual_net(12).trace)
    browser.run("zoom(2)")
    assert len(browser.all("#minimap path", "class")) <= 5  # however many boxes there are
    share = (
        "const [all, part] = [map, seen].map((one) => one.getBoundingClientRect());"
        "return [(part.top - all.top) / all.height, part.height / all.height]"
    )
    view, whole = browser.run("return [view.clientHeight, graph.h]")
    for place in (0.4, 0.6):
        browser.run(
            "const at = map.getBoundingClientRect();"
            "centreOn({clientX: at.left + 9, clientY: at.top + arguments[0] * at.height})",
            place,
        )
        top, height = browser.run(share)
        assert top + height / 2 == pytest.approx(place, abs=0.03)
        _, y, scale = browser.run(CAMERA)
        assert (view / 2 - y) / scale / whole == pytest.approx(place, abs=0.02)
        assert height == pytest.approx(view / scale / whole, abs=0.03)
    browser.press("0")
    assert browser.run("return minimap.hidden")


# ----- saving ------------------------------------------------------------------------------------


def saved(browser: Browser, whole: bool, scheme: str = "") -> ElementTree.Element:
    """The picture that the page saves; it stands alone."""
    text = browser.run("return picture(arguments[0], arguments[1]).text", whole, scheme)
    assert not re.search(r"var\(|light-dark|rgba\(|href|class=|style=", text)
    return ElementTree.fromstring(text)


def texts(picture: ElementTree.Element) -> list[str]:
    return [part.text or "" for part in picture.iter("{http://www.w3.org/2000/svg}text")]


def test_a_saved_picture_stands_alone_and_is_what_is_visible_or_all(browser: Browser) -> None:
    browser.show(residual_net(36).trace)
    whole, part = saved(browser, True), saved(browser, False)
    assert texts(whole).count("relu") == 72
    assert 0 < texts(part).count("relu") < 36
    areas = [float(one.attrib["width"]) * float(one.attrib["height"]) for one in (part, whole)]
    assert areas[0] < areas[1] / 2
    for text in whole.iter("{http://www.w3.org/2000/svg}text"):  # as wide with any other font
        assert float(text.attrib["textLength"]) > 0
        assert float(text.attrib["font-size"].removesuffix("px")) >= 11
    browser.press("0")
    for _ in range(4):
        browser.press("-")
    assert browser.run("return view.classList.contains('far')")
    assert texts(saved(browser, False)) == texts(whole)  # small on the screen, legible in it
    assert browser.run("return view.classList.contains('far')")


def test_a_saved_picture_is_light_or_dark_or_as_shown(browser: Browser) -> None:
    browser.show(two_layers().trace)

    def paper(scheme: str) -> str:
        picture = saved(browser, True, scheme)
        found = picture.find("{http://www.w3.org/2000/svg}rect")
        assert found is not None
        return found.attrib["fill"]

    assert paper("") == paper("light") == "rgb(255, 255, 255)"
    assert paper("dark") != paper("light")
    browser.click("#theme")
    assert paper("") == paper("dark")


def asynchronous(browser: Browser, script: str) -> Any:
    return browser.driver.execute_async_script(
        f"const done = arguments[0]; ({script})().then(done, (error) => done(String(error)))"
    )


def test_png_has_two_pixels_for_one_and_the_size_of_the_picture(browser: Browser) -> None:
    browser.show(two_layers().trace)
    w, h, scale, address = asynchronous(
        browser,
        "async () => { const {w, h, ...drawn} = picture(true, 'light');"
        " const {scale, address} = await pixels({w, h, ...drawn}); return [w, h, scale, address] }",
    )
    data = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    assert data.startswith(b"\x89PNG")
    assert scale == 2
    size = [int.from_bytes(data[i : i + 4], "big") for i in (16, 20)]
    assert size == [round(2 * w), round(2 * h)]
    assert len(data) > 10_000  # something is drawn in it


@contextmanager
def in_a_frame(browser: Browser, trace: Trace, style: str) -> Iterator[None]:
    """The page in a frame that may run programs and nothing else, as in a notebook."""
    browser.show(Trace())
    file = browser.folder / "framed.html"
    inside = escape(page(trace), quote=True)
    frame = f'<iframe sandbox="allow-scripts" style="{style}" srcdoc="{inside}"></iframe>'
    file.write_text(frame, encoding="utf-8")
    browser.driver.get(file.as_uri())
    browser.driver.switch_to.frame(0)
    try:
        yield
    finally:
        browser.driver.switch_to.default_content()


def test_in_a_sandbox_pictures_are_shown_and_addresses_left_alone(browser: Browser) -> None:
    with in_a_frame(browser, two_layers(3).trace, "width:1200px;height:800px"):
        browser.click("#n4")
        asynchronous(browser, "() => new Promise((done) => setTimeout(done, 500))")
        assert "copy link" not in browser.text("#details")
        browser.click("#save")
        for kind in ("svg", "png"):
            asynchronous(
                browser,
                f"async () => {{ await saveAs('{kind}');"
                " await saving.querySelector('img').decode() }",
            )
            (address,) = browser.all("#saving img", "src")
            assert address.startswith("data:image/")
            assert browser.run("return saving.querySelector('img').naturalWidth") > 100
            assert "right click" in browser.text("#saving")


def test_a_frame_without_room_is_drawn_when_it_gets_some(browser: Browser) -> None:
    """As in a part of a notebook that is not seen yet."""
    with in_a_frame(browser, two_layers().trace, "width:0;height:0;border:none"):
        assert browser.run("return graph.boxes.size") > 0
        browser.driver.switch_to.default_content()
        browser.run("document.querySelector('iframe').style = 'width:1200px;height:800px'")
        browser.driver.switch_to.frame(0)
        wait(browser, "view.clientWidth > 0 && camera.x > 0")
        assert browser.run(test_page.IN_VIEW, "#n0")
        assert browser.run("return graph.boxes.size") > 4  # folded no further than is needed


# ----- links -------------------------------------------------------------------------------------


def wait(browser: Browser, script: str) -> Any:
    return asynchronous(
        browser,
        "() => new Promise((done) => { const look = () => {"
        f"const there = {script}; there ? done(there) : setTimeout(look, 20) }}; look() }})",
    )


def test_a_link_leads_to_a_node_and_a_step(browser: Browser) -> None:
    browser.show(two_layers(5).trace, [0])
    browser.run("location.hash = '#node=relu.4&step=300'")
    wait(browser, "chosen")
    assert browser.all(".box.chosen") == ["n4"]
    assert browser.text("#moment").startswith("step 300")
    browser.driver.refresh()  # it holds at load, too
    assert browser.all(".box.chosen") == ["n4"]
    assert browser.text("#moment").startswith("step 300")
    browser.run("location.hash = '#node=gone&step=7'")
    assert wait(browser, "found.textContent") == "no node “gone”, no step 7 here"
    assert browser.all(".box.chosen") == ["n4"]


def test_the_address_follows_what_is_chosen_whatever_its_key(browser: Browser) -> None:
    trace = two_layers(5).trace
    trace.nodes[4].key = "a b/ü&step=1#%+"
    browser.show(trace)
    browser.click("#n4")
    browser.slide(2)
    wait(browser, "location.hash.includes('step=200')")
    browser.driver.refresh()
    assert browser.all(".box.chosen") == ["n4"]
    assert browser.text("#moment").startswith("step 200")
    assert browser.run("return addressed()") == browser.run("return location.hash")
    assert "copy link" in browser.text("#details")
    browser.press("Escape")
    wait(browser, "location.hash === '#step=200'")


# ----- over the steps ----------------------------------------------------------------------------


def heat(browser: Browser, name: str) -> tuple[list[str], list[list[tuple[int, ...]]]]:
    """The rows of the heatmap and the colours of its cells."""
    browser.run(
        "measureOf.selectedIndex = measured.indexOf(arguments[0]);"
        "measureOf.dispatchEvent(new Event('change'))",
        name,
    )
    rows = browser.all("#heatmap .layers button", "title")
    width, dots = browser.run(
        "const canvas = heatmap.querySelector('canvas'), {width, height} = canvas;"
        "return [width, [...canvas.getContext('2d').getImageData(0, 0, width, height).data]]"
    )
    colours = [tuple(dots[i : i + 4]) for i in range(0, len(dots), 4)]
    return rows, [colours[i : i + width] for i in range(0, len(colours), width)]


def test_the_heatmap_has_layers_and_steps_and_leads_to_them(browser: Browser) -> None:
    trace = two_layers(5).trace
    trace.steps[2].gradients[1].norm = 0.0
    trace.steps[3].gradients[1] = Summary(8, nan=1)
    del trace.steps[4].gradients[1]
    browser.show(trace)
    browser.click("#heat")
    rows, cells = heat(browser, "gradient")
    assert rows == ["fc1.weight", "fc2.weight"]
    assert [len(row) for row in cells] == [5] * 2
    first, last = cells[1][0], cells[1][4]  # 1, and 1e-4
    assert first[0] > first[2]  # vermilion
    assert last[0] < last[2]  # blue
    assert cells[0][2:4] == [(0, 48, 77, 255), (204, 121, 167, 255)]  # exactly 0, and NaN
    assert cells[0][4][3] < 255  # not known
    told = browser.text("#heatmap .scale").split()
    assert " ".join(told[2:]) == "exactly 0 NaN or infinite not recorded steps 0 … 400"
    rows, cells = heat(browser, "dead")
    assert rows == ["MLP relu"]
    reds = [cell[0] - cell[2] for cell in cells[0]]
    assert reds == sorted(reds)
    assert reds[0] == 0
    browser.run(
        "const canvas = heatmap.querySelector('canvas'), at = canvas.getBoundingClientRect();"
        "canvas.dispatchEvent(new MouseEvent('click', {bubbles: true,"
        " clientX: at.left + 0.5 * at.width, clientY: at.top + 3}))"
    )
    assert browser.text("#moment").startswith("step 200")
    assert browser.all(".box.chosen") == ["n4"]


def test_the_heatmap_has_the_rows_of_the_figure(browser: Browser) -> None:
    trace = two_layers(3).trace
    trace.modules[1].call = 1
    trace.steps[1].values[3].saturated = 0.5
    trace.steps[2].values[4] = Summary(8, nan=1)
    browser.show(trace)
    browser.click("#heat")
    assert browser.run("return measured") == list(MEASURES)
    for name, measure in MEASURES.items():
        rows, _ = heat(browser, name)
        assert rows == [_name_of(trace, node) for node in _rows(trace, measure)]
        assert browser.text("#heatmap > span") == measure.words
    browser.show(two_layers(1).trace)  # with one step there is nothing to compare
    assert browser.run("return byId('heat').hidden")


def test_the_details_have_a_line_over_the_steps(browser: Browser) -> None:
    browser.show(two_layers(5).trace)
    browser.click("#n3")
    lines = browser.text("#details").split("\n")
    assert lines[lines.index("RMS of the gradient") + 1] == "3.54e-05 … 0.354 (log)"
    assert len(browser.all("#details .spark", "class")) == 6
    assert "weight: update/weight" in lines
    browser.run(
        "const spark = document.querySelector('.spark'), at = spark.getBoundingClientRect();"
        "spark.dispatchEvent(new MouseEvent('click', {clientX: at.left + 0.74 * at.width}))"
    )
    assert browser.text("#moment").startswith("step 300")


@pytest.mark.parametrize(
    ("loss", "is_log"),
    [
        (lambda i: 10.0**-i, True),
        (lambda i: 1.0 - i, False),  # below 0 there is no logarithm
    ],
)
def test_the_loss_is_drawn_by_its_logarithm_where_it_spans_decades(
    browser: Browser, loss: Callable[[int], float], is_log: bool
) -> None:
    trace = two_layers(5).trace
    for i, step in enumerate(trace.steps):
        step.loss = loss(i)
    browser.show(trace)
    assert browser.run("return byId('logged').hidden") != is_log
    (path,) = browser.all("#losses path", "d")
    heights = [float(y) for y in re.findall(r" (\S+?)(?=L|$)", path)]
    if is_log:  # equal factors are equal distances
        assert [b - a for a, b in itertools.pairwise(heights)] == pytest.approx([0.225] * 4)
