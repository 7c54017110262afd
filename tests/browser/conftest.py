"""A real browser before a real server over the test's database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
import pytest_django
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from sites.models import User
from tests import factories, servers
from tests.config.live_process import LiveProcess, live_process, session_cookie
from tests.waiting import PATIENCE_S


@dataclass
class Window:
    """A page of the portal, and what went wrong in it."""

    page: Page
    base: str
    faults: list[str]
    asked: list[str]

    def go(self, path: str) -> Page:
        self.page.goto(self.base + path)
        return self.page


@pytest.fixture(scope="module")
def portal(
    django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker
) -> Iterator[LiveProcess]:
    """The whole portal on one port, as `manage.py up` serves it."""
    with django_db_blocker.unblock(), live_process("application") as process:
        yield process


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's own Chromium; Playwright's download is not needed."""
    expect.set_options(timeout=PATIENCE_S * 1000)
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Nothing of Django runs in Playwright's event loop, only in the same thread.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        opened = playwright.chromium.launch(
            executable_path=servers.needed("chromium"),
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
        )
        yield opened
        opened.close()


Opener = Callable[..., Window]


@pytest.fixture
def window(browser: Browser, portal: LiveProcess, transactional_db: None) -> Iterator[Opener]:
    """Open the portal as somebody, in a profile of the test's own; at the end no page may have had
    a fault of its own.
    """
    contexts: list[BrowserContext] = []
    windows: list[Window] = []
    base = f"http://127.0.0.1:{portal.port}"

    def open_as(user: User | None, *, width: int = 1440, theme: str = "light") -> Window:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if theme == "dark" else "light",
            permissions=["notifications", "clipboard-read", "clipboard-write"],
        )
        contexts.append(context)
        if user is not None:
            name, _, value = session_cookie(user).partition("=")
            context.add_cookies([{"name": name, "value": value, "url": base}])
        opened = Window(context.new_page(), base, [], [])
        opened.page.set_default_timeout(PATIENCE_S * 1000)
        opened.page.on("pageerror", lambda error: opened.faults.append(str(error)))
        opened.page.on(
            "console",
            lambda said: opened.faults.append(said.text) if said.type == "error" else None,
        )
        opened.page.on("request", lambda request: opened.asked.append(request.url))
        windows.append(opened)
        return opened

    yield open_as
    for context in contexts:
        context.close()
    for opened in windows:
        hosts = {urlsplit(url).netloc for url in opened.asked if url.startswith("http")}
        assert hosts <= {urlsplit(base).netloc}, "a page asked another host"
        assert opened.faults == []


def log_in(window: Window, user: User) -> None:
    """Log in through the form."""
    page = window.go("/")
    page.get_by_label("User name or email").fill(user.username)
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{window.base}/")
