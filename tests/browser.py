"""A real browser for tests of pages: headless Chromium, driven by selenium; tests skip, with the reason, where it is absent."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

__all__ = ["open_browser"]

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-device-scale-factor=1",
    "--hide-scrollbars",
    "--lang=en-US",
)


@contextmanager
def open_browser(profile: Path, width: int = 1400, height: int = 900) -> Iterator[Any]:
    """A browser with a fresh profile and no network but files; skips the test where there is none."""
    browser, driver = (
        _found(*names) for names in (("chromium", "chromium-browser", "google-chrome"), ("chromedriver",))
    )
    selenium = pytest.importorskip("selenium.webdriver", reason="needs selenium, of the extra dev")
    if browser is None or driver is None:
        pytest.skip("needs Chromium and its driver: apt-get install chromium chromium-driver")
    options = selenium.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    try:
        yield opened
    finally:
        opened.quit()


def _found(*names: str) -> str | None:
    return next((path for name in names if (path := shutil.which(name))), None)
