"""A real Chromium for the browser tests.

Owns installing the browser on Debian, starting it with fixed flags, and full-page
screenshots. It owns no test and no page. Selenium's own manager, which downloads
browsers, is never asked: both programs are named by their paths.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

CHROMIUM = Path("/usr/bin/chromium")
CHROMEDRIVER = Path("/usr/bin/chromedriver")
PACKAGES = ("chromium", "chromium-driver")

FLAGS = (
    "--headless",
    # Chromium's own sandbox does not start for root, as whom containers often run.
    "--no-sandbox",
    "--disable-gpu",
    # The tests' network is loopback; these keep the browser from asking for anything else.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

ColourScheme = Literal["light", "dark"]


class ChromiumUnavailableError(RuntimeError):
    """No Chromium can be had here; the message says what would help."""


def ensure_chromium() -> None:
    """Install Chromium and its driver where they are missing and this is root on Debian.

    Raises ChromiumUnavailableError.
    """
    if CHROMIUM.exists() and CHROMEDRIVER.exists():
        return
    wanted = " ".join(PACKAGES)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ChromiumUnavailableError(
            f"the browser tests need {CHROMIUM} and {CHROMEDRIVER}; "
            f"on Debian: sudo apt-get install {wanted}"
        )
    print(f"chromium: installing {wanted}", file=sys.stderr, flush=True)
    apt_get("update", "-qq")
    apt_get("install", "-y", "-qq", "--no-install-recommends", *PACKAGES)
    if not (CHROMIUM.exists() and CHROMEDRIVER.exists()):
        raise ChromiumUnavailableError(f"apt-get installed {wanted}, yet no {CHROMIUM} is there")


def apt_get(*arguments: str) -> None:
    """Run apt-get without questions.

    Raises ChromiumUnavailableError with its output.
    """
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        ["apt-get", *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ChromiumUnavailableError(f"apt-get {arguments[0]} failed:\n{done.stdout[-2000:]}")


def new_browser(user_data_dir: Path) -> webdriver.Chrome:
    """Start a headless Chromium on an empty profile; the caller quits it."""
    if user_data_dir.exists() and any(user_data_dir.iterdir()):
        raise ValueError(f"{user_data_dir} is not empty: a test starts from a clean profile")
    options = Options()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={user_data_dir}"):
        options.add_argument(flag)
    # What a page writes to the console is kept, and with it what its policy (CSP) blocked.
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(executable_path=str(CHROMEDRIVER)))


@contextlib.contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    """Yield a browser on a profile of its own; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="iam-chromium-", ignore_cleanup_errors=True) as name:
        driver = new_browser(Path(name))
        try:
            yield driver
        finally:
            driver.quit()


def command(driver: webdriver.Chrome, name: str, **parameters: Any) -> dict[str, Any]:
    """Run one DevTools command and return its result."""
    result: dict[str, Any] = driver.execute_cdp_cmd(name, parameters)
    return result


def emulate_colour_scheme(driver: webdriver.Chrome, scheme: ColourScheme) -> None:
    """Make pages see the visitor's preference for a light or a dark scheme."""
    preference = {"name": "prefers-color-scheme", "value": scheme}
    command(driver, "Emulation.setEmulatedMedia", features=[preference])


def screenshot(
    driver: webdriver.Chrome, path: Path, *, width: int = 1280, scheme: ColourScheme = "light"
) -> Path:
    """Save the whole current page, however long, as a PNG of the given width."""
    emulate_colour_scheme(driver, scheme)
    set_viewport(driver, width, 800)
    try:
        height = int(command(driver, "Page.getLayoutMetrics")["cssContentSize"]["height"]) or 1
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        image = command(
            driver, "Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip
        )
    finally:
        command(driver, "Emulation.clearDeviceMetricsOverride")
        command(driver, "Emulation.setEmulatedMedia", features=[])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(base64.b64decode(image["data"]))
    return path


def set_viewport(driver: webdriver.Chrome, width: int, height: int) -> None:
    """Give the page a viewport in CSS pixels, whatever the window's size."""
    command(
        driver,
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=height,
        deviceScaleFactor=1,
        mobile=False,
    )


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.support.chromium")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ensure", help="install Chromium and its driver where missing")
    shot = commands.add_parser("screenshot", help="save a page as a PNG")
    shot.add_argument("url")
    shot.add_argument("path", type=Path)
    shot.add_argument("--width", type=int, default=1280)
    shot.add_argument("--scheme", choices=["light", "dark"], default="light")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = parse_arguments(arguments)
    try:
        ensure_chromium()
    except ChromiumUnavailableError as error:
        print(f"chromium: {error}", file=sys.stderr)
        return 1
    if options.command == "screenshot":
        with browser() as driver:
            driver.get(options.url)
            screenshot(driver, options.path, width=options.width, scheme=options.scheme)
    return 0


if __name__ == "__main__":
    sys.exit(main())
