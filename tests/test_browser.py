"""The web page in a real Chromium: two languages, a phone's width, and no request that leaves.

Run by ``make test-browser``; needs Chromium and its driver (Debian: chromium, chromium-driver),
selenium and the extra `demo`. Skipped with the reason where one is missing. With
GROOVE_SCREENSHOTS set to a folder, what was seen is written there.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from groove.service.words import WORDS
from tests.conftest import ROOT, VOICE_A, VOICE_A2, VOICE_B

pytestmark = pytest.mark.browser
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
LONG_S = 120  # a page may be slow on a busy machine; nothing waits longer than it must
WIDE, PHONE = (1100, 900), (390, 844)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running page, and proof that its temporary files go with it."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no Chromium with its driver: apt-get install chromium chromium-driver")
    if importlib.util.find_spec("gradio") is None:
        pytest.skip("gradio is not installed: pip install 'groove-sv[demo]'")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("demo")
    temporary = folder / "tmp"
    temporary.mkdir()
    log = folder / "log.txt"
    with log.open("wb") as file:
        server = subprocess.Popen(
            [
                sys.executable,
                "demos/app.py",
                "--port",
                str(port),
                "--db",
                str(folder / "people.db"),
            ],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdout=file,
            stderr=file,
        )
    try:
        _wait(lambda: _listens(port) or server.poll() is not None)
        assert server.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}/"
        uploads = list(temporary.rglob("*.wav"))
        assert uploads, "uploads lie in the folder that is purged"
    finally:
        server.terminate()
        server.wait(30)
    assert not list(temporary.rglob("*.wav"))


class Page:
    """One browser window on the page, by what a person sees."""

    def __init__(self, address: str, language: str, size: tuple[int, int], microphone: Path):
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            f"--lang={language}",
            f"--window-size={size[0]},{size[1]}",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}",
        ):
            options.add_argument(argument)
        options.add_experimental_option("prefs", {"intl.accept_languages": language})
        options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
        service = webdriver.ChromeService(executable_path=DRIVER)
        self.driver: Any = webdriver.Chrome(options=options, service=service)
        self.size = size
        self._resize(size[1])
        self.driver.get(address)
        self.wait("#compare-button")

    def wait(self, css: str) -> Any:
        """The element, once it is there and visible."""
        found: list[Any] = []

        def visible() -> bool:
            found[:] = self.driver.find_elements("css selector", css)
            return any(e.is_displayed() for e in found)

        _wait(visible)
        return next(e for e in found if e.is_displayed())

    def tab(self, name: str) -> None:
        """Open a tab by its words."""
        tabs = self.driver.find_elements("css selector", "button[role=tab]")
        next(t for t in tabs if t.is_displayed() and t.text == name).click()

    def upload(self, field: str, path: Path) -> None:
        self.driver.find_element("css selector", f"#{field} input[type=file]").send_keys(str(path))
        self.wait(f"#{field} .waveform-container")

    def press(self, button: str, answer: str) -> str:
        """Press a button and read the answer's card."""
        self.wait(f"#{button}").click()
        return str(self.wait(f"#{answer} .card").text)

    def foreign_requests(self) -> list[str]:
        """What the browser asked of anybody but this machine, since the last call."""
        messages = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        urls = [
            m["params"]["request"]["url"]
            for m in messages
            if m["method"] == "Network.requestWillBeSent"
        ]
        assert urls, "the log holds the page's own requests"
        own = re.compile(r"(https?|wss?)://127\.0\.0\.1[:/]|data:|blob:|about:|chrome")
        return [url for url in urls if not own.match(url)]

    def overflows(self) -> bool:
        """Something is wider than the window."""
        width = self.driver.execute_script(
            "return Math.max(...[...document.querySelectorAll('.page *')]"
            ".filter(e => e.checkVisibility() && !e.closest('svg, .visually-hidden'))"
            ".map(e => e.getBoundingClientRect().right))"
        )
        scrolls = self.driver.execute_script("return document.documentElement.scrollWidth")
        return bool(max(width, scrolls) > self.size[0] + 1)

    def screenshot(self, name: str) -> None:
        folder = os.environ.get("GROOVE_SCREENSHOTS")
        if folder:
            time.sleep(1)  # the needle swings; only for the picture
            script = "return document.querySelector('.page').scrollHeight + 40"
            self._resize(max(self.driver.execute_script(script), 400))
            self.driver.save_screenshot(str(Path(folder) / f"{name}.png"))
            self._resize(self.size[1])

    def _resize(self, height: int) -> None:
        metrics = {"width": self.size[0], "height": height, "deviceScaleFactor": 1}
        metrics["mobile"] = self.size[0] < 600
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


@pytest.fixture
def open_page(address: str, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    pages: list[Page] = []
    microphone = tmp_path / "microphone.wav"

    def open_(language: str, size: tuple[int, int] = WIDE, talks: Path = VOICE_A2) -> Page:
        microphone.write_bytes(talks.read_bytes())
        pages.append(Page(address, language, size, microphone))
        return pages[-1]

    yield open_
    for page in pages:
        page.driver.quit()


@pytest.mark.parametrize(
    ("language", "size"), [("en-US", WIDE), ("zh-CN", WIDE), ("en-US", PHONE), ("zh-CN", PHONE)]
)
def test_two_files_are_compared(
    open_page: Callable[..., Page], language: str, size: tuple[int, int]
) -> None:
    words = {key: pair[language == "zh-CN"] for key, pair in WORDS.items()}
    page = open_page(language, size)
    assert page.wait(".title").text == words["title"]
    assert words["need_two"] in page.press("compare-button", "comparison")
    page.upload("first", VOICE_A)
    page.upload("second", VOICE_A2)
    _wait(lambda: words["same"] in page.press("compare-button", "comparison"))
    shown = page.wait("#comparison .card").text
    for part in ("same", "why", "odds", "score"):
        assert words[part].lower() in shown.lower()  # a heading is shown in capitals
    assert re.search(r"0\.\d\d", shown) and "99.9 %" in shown
    assert len(page.driver.find_elements("css selector", "#comparison .wave svg")) == 2
    assert page.driver.find_elements("css selector", "#comparison .gauge .needle")
    assert not page.overflows()
    page.screenshot(f"compare-{language}-{size[0]}")
    assert page.foreign_requests() == []


def test_another_voice_is_told_apart(open_page: Callable[..., Page]) -> None:
    page = open_page("zh-CN")
    page.upload("first", VOICE_A)
    page.upload("second", VOICE_B)
    shown = page.press("compare-button", "comparison")
    assert WORDS["different"][1] in shown
    page.screenshot("different")


def test_enrol_identify_live_people_and_forget(open_page: Callable[..., Page]) -> None:
    page = open_page("en-US")
    page.tab("Enrol")
    page.wait("#enroll-name input, #enroll-name textarea").send_keys("张三")
    page.wait("#enroll-consent input, #enroll-consent textarea").send_keys("signed form 17")
    page.upload("enroll-recording", VOICE_A)
    assert "Enrolled: 张三" in page.press("enroll-button", "enrollment")
    page.screenshot("enroll")
    page.tab("Who is it?")
    page.upload("identify-recording", VOICE_A2)
    shown = page.press("identify-button", "identification")
    assert shown.startswith("张三") and "People enrolled: 1." in shown
    page.screenshot("identify")
    page.tab("Live")
    page.wait("#live-microphone button.record-button").click()
    _wait(lambda: "张三" in page.wait("#live section").text)
    page.screenshot("live")
    page.tab("People")
    _wait(lambda: "signed form 17" in page.wait("#people").text)
    page.screenshot("people")
    page.wait("#forget-who input").click()
    page.wait("[role=option]").click()
    page.wait("#forget-button").click()
    _wait(lambda: "Forget 张三?" in page.wait("#forgetting").text)
    page.screenshot("forget")
    page.wait("#forget-no").click()
    yes = "#forget-yes"
    _wait(lambda: not any(e.is_displayed() for e in page.driver.find_elements("css selector", yes)))
    assert "signed form 17" in page.wait("#people").text  # one click deletes nobody
    page.wait("#forget-button").click()
    page.wait("#forget-yes").click()
    _wait(lambda: "Nobody is enrolled yet" in page.wait("#people").text)
    assert page.foreign_requests() == []


def test_only_this_machine_is_answered(address: str) -> None:
    """A page elsewhere that points its own name at 127.0.0.1 gets nothing."""
    port = int(address.rsplit(":", 1)[1].strip("/"))
    for host, status in (("127.0.0.1", b"200"), ("evil.example", b"400")):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(
                f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
            )
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head = answer.split(b"\r\n\r\n")[0].lower()
        assert head.split()[1] == status
        if status == b"200":
            assert b"content-security-policy: default-src 'self'" in head
            for foreign in (b"googleapis", b"cdnjs", b"gradio.live"):
                assert foreign not in answer


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait(done: Callable[[], Any]) -> None:
    """Until it is so; the errors of a page that is being drawn anew count as not yet."""
    from selenium.common.exceptions import StaleElementReferenceException

    until = time.monotonic() + LONG_S
    while True:
        try:
            if done():
                return
        except StaleElementReferenceException:
            pass
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.1)
