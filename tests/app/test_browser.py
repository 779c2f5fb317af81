"""The page in a real browser: Chromium, driven by Playwright."""

from __future__ import annotations

import re
import shutil
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from stablemtl import TASKS, StableMTLPipeline
from stablemtl.app.values import value_text
from stablemtl.outputs import Predictions, read_prediction

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip(
    "playwright.sync_api", reason="the page's tests need playwright: pip install playwright"
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="the page's tests need Chromium on the PATH")

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE_MS = 60_000
UPLOAD_MB = 1


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Any]) -> Any:
    """The page with ``nano`` and small limits."""
    return start_server("--max-upload-mb", UPLOAD_MB, "--max-video-seconds", 2, "--max-side-px", 1024)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Two frames of one camera, and a picture of another size."""
    from skimage.data import stereo_motorcycle

    folder = tmp_path_factory.mktemp("pictures")
    left, right = (Image.fromarray(view) for view in stereo_motorcycle()[:2])
    paths = (folder / "left.png", folder / "right.png", folder / "tall.png")
    left.resize((120, 80)).save(paths[0])
    right.resize((120, 80)).save(paths[1])
    left.crop((100, 50, 340, 450)).resize((66, 110)).save(paths[2])
    return paths


@pytest.fixture(scope="module")
def nano() -> StableMTLPipeline:
    return StableMTLPipeline.from_pretrained("nano")


@contextmanager
def opened(browser: Browser, url: str, **options: Any) -> Iterator[Page]:
    """The page in a window of its own, as another visitor has it; ends with a look at its requests."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    requests: list[str] = []
    failures: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(url)
    page.wait_for_selector("#smtl-predict")
    try:
        yield page
        assert failures == []
        assert len(requests) > 10
        outside = [address for address in requests if not address.startswith((url, "data:", "blob:"))]
        assert outside == [], "the page asks nobody but its own server"
    finally:
        context.close()


def upload(page: Page, place: str, path: Path) -> None:
    page.set_input_files(f"#smtl-{place} input[type=file]", path)
    page.wait_for_selector(f"#smtl-{place} :is(img, video)")


def predict(page: Page) -> None:
    page.click("#smtl-predict")
    page.wait_for_selector("#smtl-download:not([disabled])")


def message(page: Page) -> str:
    """The text of the message in the corner, which is then closed."""
    box = page.locator(".toast-body").first
    box.wait_for()
    text = box.inner_text()
    page.locator(".toast-close").first.click()
    box.wait_for(state="detached")
    return " ".join(text.split())


def at(image: Locator, x: float, y: float) -> dict[str, float]:
    """Where a place of the picture (shares of width and height) is in its element."""
    box = image.bounding_box()
    assert box is not None
    return {"x": box["width"] * x, "y": box["height"] * y}


def table(page: Page) -> tuple[tuple[int, int], dict[str, str]]:
    """The pixel and the rows of the table of values."""
    page.wait_for_selector("table.smtl-values")
    caption = re.fullmatch(r"At x (\d+), y (\d+) px", page.inner_text("table.smtl-values caption"))
    assert caption is not None
    rows = page.locator("table.smtl-values tr")
    cells = [[rows.nth(i).locator(kind).inner_text() for kind in ("th", "td")] for i in range(rows.count())]
    return (int(caption[1]), int(caption[2])), {name.replace(" ", "_"): value for name, value in cells}


def numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)]


def agree(shown: str, maps: Predictions, task: str, x: int, y: int) -> bool:
    """Whether a text shown is the value of a map, but for rounding."""
    expected = value_text(maps[task], x, y)
    got, wanted = numbers(shown), numbers(expected)
    names = re.sub(r"[-\d.e]+", "", shown) == re.sub(r"[-\d.e]+", "", expected)
    return names and len(got) == len(wanted) and np.allclose(got, wanted, rtol=0.02, atol=2e-3)


def test_upload_predict_look_and_download(
    server: Any,
    browser: Browser,
    pictures: tuple[Path, Path, Path],
    nano: StableMTLPipeline,
    tmp_path: Path,
) -> None:
    maps = nano(*pictures[:2])
    with opened(browser, server.url) as page:
        upload(page, "first", pictures[0])
        upload(page, "second", pictures[1])
        predict(page)
        assert "2 pictures of 120x80 px, nano" in page.inner_text("#smtl-summary")

        # Every map is there with its legend, at the picture's size.
        for task in TASKS:
            size = page.locator(f"#smtl-map-{task} img").evaluate("e => [e.naturalWidth, e.naturalHeight]")
            assert size == [120, 80]
            text = page.inner_text(f"#smtl-legend-{task}")
            assert task.replace("_", " ") in text.lower()
            assert maps[task].range_text.split()[0] in text
        assert "one frame" not in page.inner_text("#smtl-grid")

        # The value under the mouse, and the values of a click.
        depth = page.locator("#smtl-map-depth img")
        depth.scroll_into_view_if_needed()
        depth.hover(position=at(depth, 0.25, 0.6))
        tip = page.inner_text("#smtl-tip")
        found = re.fullmatch(r"depth (\S+ m)\s+x (\d+), y (\d+)", tip)
        assert found is not None, tip
        assert (int(found[2]), int(found[3])) == pytest.approx((30, 48), abs=1)
        assert agree(found[1], maps, "depth", int(found[2]), int(found[3]))
        depth.click(position=at(depth, 0.25, 0.6))
        (x, y), values = table(page)
        assert (x, y) == pytest.approx((30, 48), abs=1)
        assert list(values) == list(TASKS)
        for task, value in values.items():
            assert agree(value, maps, task, x, y), (task, value)

        # The photograph and a map under a slider.
        page.get_by_role("tab", name="Compare").click()
        page.locator("#smtl-compare-task label", has_text="shading").click()
        page.wait_for_selector("#smtl-legend-compare:has-text('shading')")
        assert page.locator("#smtl-map-compare img").count() == 2
        page.locator("#smtl-map-compare").hover(position={"x": 60, "y": 60})
        assert page.inner_text("#smtl-tip").startswith("shading ")

        # The cloud is drawn: pixels of many colours.
        page.get_by_role("tab", name="3D").click()
        page.wait_for_selector("#smtl-cloud-text:has-text('points in metres')")
        canvas = page.locator("#smtl-cloud canvas")
        canvas.scroll_into_view_if_needed()
        wait_until(lambda: colours(canvas) > 50, "the cloud is not drawn")

        # What listens to what.
        page.get_by_role("tab", name="Attention").click()
        page.click("#smtl-attention-show")
        for name in ("scores", "places"):
            page.wait_for_selector(f"#smtl-attention-{name} img")

        # Everything as a zip file.
        with page.expect_download() as download:
            page.click("#smtl-download")
        assert download.value.suggested_filename == "stablemtl_maps.zip"
        download.value.save_as(tmp_path / "maps.zip")
    with zipfile.ZipFile(tmp_path / "maps.zip") as archive:
        archive.extractall(tmp_path)
    for task, prediction in maps.items():
        back = read_prediction(tmp_path / f"{task}.npz")
        np.testing.assert_allclose(back.values, prediction.values, atol=1e-3)
    for name in ("contact_sheet.png", "maps.json", "point_cloud.ply", "image.png", "image_next.png"):
        assert (tmp_path / name).is_file()


def test_bad_and_oversized_files(
    server: Any, browser: Browser, pictures: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"not a picture at all")
    (tmp_path / "large.png").write_bytes(b"\x89PNG" + b"0" * (UPLOAD_MB * 1024 * 1024))
    (tmp_path / "bomb.png").write_bytes(bomb(30_000, 30_000))
    with opened(browser, server.url) as page:
        page.click("#smtl-predict")
        said = [message(page)]
        upload(page, "first", tmp_path / "bad.png")
        page.click("#smtl-predict")
        said.append(message(page))
        page.set_input_files("#smtl-second input[type=file]", tmp_path / "large.png")
        said.append(message(page))
        assert page.locator("#smtl-second img").count() == 0
        page.locator("#smtl-first [aria-label='Remove Image']").or_(
            page.locator("#smtl-first [title='Remove Image']")
        ).first.click()
        upload(page, "first", tmp_path / "bomb.png")
        page.click("#smtl-predict")
        said.append(message(page))
        upload(page, "second", pictures[0])
        page.get_by_role("tab", name="Video").click()
        page.click("#smtl-predict-video")
        said.append(message(page))
        assert page.locator("#smtl-map-depth img").count() == 0
    for text, expected in zip(
        said,
        (
            "Choose a picture first.",
            "The picture is not an image that can be read",
            f"exceed the maximum allowed size of {UPLOAD_MB}.0 Mb",
            "The picture is too large to be decoded; at most 64 million pixels",
            "Choose a video first.",
        ),
        strict=True,
    ):
        assert expected in text
        assert "Traceback" not in text
        assert "/" not in text, "no path of the server"


def test_two_users_at_once(
    server: Any, browser: Browser, pictures: tuple[Path, Path, Path], nano: StableMTLPipeline
) -> None:
    with opened(browser, server.url) as one, opened(browser, server.url) as other:
        for page, picture in ((one, pictures[0]), (other, pictures[2])):
            upload(page, "first", picture)
            for label in ("normal", "scene flow", "shading", "albedo"):
                page.locator("#smtl-tasks label", has_text=label).click()
        one.click("#smtl-predict")
        other.click("#smtl-predict")
        for page, picture in ((one, pictures[0]), (other, pictures[2])):
            page.wait_for_selector("#smtl-download:not([disabled])")
            maps = nano(picture, tasks=["semantic", "depth", "optical_flow"])
            width, height = maps["depth"].size[::-1]
            assert f"1 picture of {width}x{height} px" in page.inner_text("#smtl-summary")
            assert "one frame given" in page.inner_text("#smtl-legend-optical_flow")
            image = page.locator("#smtl-map-depth img")
            image.scroll_into_view_if_needed()
            image.click(position=at(image, 0.7, 0.3))
            (x, y), values = table(page)
            assert list(values) == list(maps)
            for task, value in values.items():
                assert agree(value, maps, task, x, y), (task, value)


def test_a_video_and_a_phone(server: Any, browser: Browser, pictures: tuple[Path, Path, Path]) -> None:
    import av

    path = pictures[0].with_name("clip.mp4")
    with Image.open(pictures[0]) as picture, av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=4)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for shift in range(0, 12, 4):
            frame = np.asarray(picture.crop((shift, 8, shift + 96, 72)))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    phone = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}
    with opened(browser, server.url, **phone) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.get_by_role("tab", name="Video").first.click()
        upload(page, "video", path)
        for task in TASKS:
            if task != "depth":
                page.locator("#smtl-tasks label", has_text=task.replace("_", " ")).click()
        page.locator("#smtl-stream label", has_text="single").click()
        page.click("#smtl-predict-video")
        page.wait_for_selector("#smtl-clip video")
        assert "3 frames" in page.inner_text("#smtl-summary")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        with page.expect_download() as download:
            page.click("#smtl-download")
        with zipfile.ZipFile(download.value.path()) as archive:
            assert {"side_by_side.mp4", "depth.mp4"} <= set(archive.namelist())


def test_files_go_when_the_page_is_closed(
    server: Any, browser: Browser, pictures: tuple[Path, Path, Path]
) -> None:
    def files() -> list[Path]:
        return list(server.temporary.glob("stablemtl-app-*/sessions/0*/maps/*.png"))

    wait_until(lambda: not files(), "files of the tests before")
    with opened(browser, server.url) as page:
        upload(page, "first", pictures[0])
        predict(page)
        assert len(files()) == 1 + len(TASKS)
    wait_until(
        lambda: not list(server.temporary.glob("stablemtl-app-*/sessions/0*")), "the files are still there"
    )


def wait_until(condition: Callable[[], bool], complaint: str, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, complaint
        time.sleep(0.1)


def colours(element: Locator) -> int:
    """How many different colours the element shows."""
    import io

    with Image.open(io.BytesIO(element.screenshot())) as picture:
        return len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3) // 8, axis=0))


def bomb(width: int, height: int) -> bytes:
    """A PNG whose head promises a huge picture, and which holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
