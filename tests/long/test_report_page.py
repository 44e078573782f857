"""The report in a real browser: it asks for nothing, complains of nothing, fits a phone, and works by keyboard."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Page, async_playwright

from pipeline.report.evidence import Evidence
from pipeline.report.page import page
from pipeline.report.view import view
from tests.report_samples import hostile, quiet

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]  # also as root in a container
PHONE, DESKTOP, PAPER = (390, 844), (1280, 900), (718, 1000)  # CSS pixels; the last is A4 within its margins

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.timeout(120),
]


@asynccontextmanager
async def shown(
    evidence: Evidence,
    folder: Path,
    *,
    size: tuple[int, int] = DESKTOP,
    scheme: Literal["light", "dark"] = "light",
    media: Literal["screen", "print"] = "screen",
) -> AsyncIterator[Page]:
    """The report of `evidence` in a browser; fails at its end where the page asked for or complained of anything.

    REPORT_SCREENSHOTS names a folder that keeps a picture of each.
    """
    file = folder / "report.html"
    file.write_text(page(view(evidence)), encoding="utf-8")
    asked: list[str] = []
    complaints: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        tab = await browser.new_page(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, reduced_motion="reduce"
        )
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: complaints.append(dialog.message))
        await tab.emulate_media(media=media)
        await tab.goto(file.as_uri())
        yield tab
        if kept := os.environ.get("REPORT_SCREENSHOTS"):
            await tab.screenshot(
                path=f"{kept}/{evidence.manifest.status}-{size[0]}-{scheme}-{media}.png", full_page=True
            )
        await browser.close()
    assert asked == [file.as_uri()]
    assert complaints == []


@pytest.mark.parametrize("evidence", [quiet(), hostile()], ids=["quiet", "hostile"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("size", "media"), [(DESKTOP, "screen"), (PHONE, "screen"), (PAPER, "print")])
async def test_it_fits_and_is_silent(
    evidence: Evidence,
    scheme: Literal["light", "dark"],
    size: tuple[int, int],
    media: Literal["screen", "print"],
    tmp_path: Path,
) -> None:
    """No request but the file, no message on the console, nothing wider than screen or paper."""
    async with shown(evidence, tmp_path, size=size, scheme=scheme, media=media) as tab:
        assert await tab.evaluate("document.documentElement.scrollWidth") <= size[0]


async def test_the_style_sheet_applies_under_the_policy_and_follows_the_scheme(tmp_path: Path) -> None:
    """The hash in the policy is that of the sheet; a dark screen gets a dark page."""
    grounds = []
    for scheme in ("light", "dark"):
        async with shown(quiet(), tmp_path, scheme=scheme) as tab:
            grounds.append(await tab.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(245, 246, 248)", "rgb(18, 21, 27)"]


async def test_the_keyboard_reaches_everything_in_the_order_it_is_read(tmp_path: Path) -> None:
    """Tab goes to the skip link, the sections, then frames and details; Enter opens one and follows a link."""
    async with shown(hostile(), tmp_path) as tab:
        reachable = await tab.evaluate("document.querySelectorAll('a, summary, [tabindex=\"0\"]').length")
        tops, reached = [], []
        for _ in range(reachable):
            await tab.keyboard.press("Tab")
            kind, top, anchor = await tab.evaluate(
                "(e => [e.tagName, e.getBoundingClientRect().top + scrollY, e.getAttribute('href')])"
                "(document.activeElement)"
            )
            if kind == "BODY":
                break
            reached.append((kind, anchor))
            if kind != "A":
                tops.append(top)
        assert reached[0] == ("A", "#main")
        assert [kind for kind, _ in reached].count("SUMMARY") == await tab.locator("summary").count()
        assert tops == sorted(tops)
        await tab.locator("summary").first.focus()
        await tab.keyboard.press("Enter")
        assert await tab.locator("details[open]").count() == 1
        await tab.locator("nav a").last.focus()
        await tab.keyboard.press("Enter")
        assert (await tab.evaluate("location.hash")) == "#facts"


async def test_a_screen_reader_finds_headings_tables_and_their_names(tmp_path: Path) -> None:
    """One first heading, a named region for each section, and a caption for each table."""
    async with shown(quiet(), tmp_path) as tab:
        assert await tab.get_by_role("heading", level=1).count() == 1
        assert await tab.get_by_role("navigation", name="Sections").count() == 1
        assert await tab.get_by_role("table", name="Rows by dataset and day").count() == 1
        assert await tab.locator("table:not(:has(caption))").count() == 0
        assert await tab.locator("svg:not([role=img][aria-label])").count() == 0
