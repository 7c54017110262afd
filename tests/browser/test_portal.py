"""What people do in the portal, with a real browser, a real server and an agent's real requests."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Literal

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Page, expect

from agents import enrolment
from jobs import definitions
from jobs.models import Job
from notifications import fanning
from notifications.models import Channel, Subscription
from sites import invitations, teams
from sites.access import set_role
from sites.models import Membership, User
from sites.places import pause_site, save_target
from tests import factories
from tests.backups import back_up
from tests.browser.conftest import Opener, log_in
from tests.factories import FOLDER, Enrolled
from tests.jobs.planned import occurred

pytestmark = pytest.mark.browser

FIRST = {
    "main.st": b"IF x\n limit := two;\nEND\n",
    "old.txt": b"to be removed\n",
    "a/b.csv": b"1;2\n" * 9,
}
SECOND = {
    "main.st": b"IF x\n limit := TEN;\nEND\n",
    "new.txt": b"added\n",
    "a/moved.csv": b"1;2\n" * 9,
}


def is_live(page: Page) -> None:
    """Wait until the page hears of news; what happens before would be fetched, not heard."""
    with page.expect_response(lambda answer: "/live/events" in answer.url):
        page.reload()
    expect(page.locator(".y-live")).to_have_text("Live")


def test_a_backup_is_watched_from_the_button_to_the_diff(
    window: Opener, job: Job, agent: Enrolled, edda: User
) -> None:
    """S0-02, S0-07, S0-13, S0-18, S0-19, S0-24 to S0-26, S3-45: nothing is reloaded on the way."""
    edda_s = window(None)
    log_in(edda_s, edda)
    page = edda_s.go("/jobs/manage")
    is_live(page)
    page.evaluate("window.stamp = 1")
    row = page.locator(f"#job-{job.public_id}")
    for files, chip in ((FIRST, "Modified"), (FIRST, "Up to Date"), (SECOND, "Modified")):
        row.get_by_role("button", name=re.compile("Backup Now")).click()
        expect(row.locator(".chip")).to_have_text("Pending")
        back_up(agent.api, files)
        expect(row.locator(".chip")).to_have_text(chip)
    assert page.evaluate("window.stamp") == 1
    expect(page.locator("html")).to_have_attribute("data-chimed", "3")

    edda_s.go("/jobs/history")
    newest = page.locator("tbody").first
    newest.get_by_role("button", name=re.compile("Message of")).click()
    expect(newest.locator("tr.more")).to_contain_text("4 files differ")
    newest.get_by_role("link", name=re.compile("View Details")).first.click()
    expect(page.locator(".y-difftool")).to_contain_text("Nothing hidden")
    tree = page.locator(".y-tree")
    for name, sign in (
        ("main.st", "+1 −1"),
        ("new.txt", "new"),
        ("old.txt", "removed"),
        ("moved.csv", "renamed"),
    ):
        expect(tree.locator("a", has_text=name)).to_contain_text(sign)
    assert page.locator(".y-dt del").all_inner_texts() == ["two"]
    assert page.locator(".y-dt ins").all_inner_texts() == ["TEN"]
    page.get_by_role("link", name="Unified").click()
    expect(page.locator(".y-dt.uni").first).to_be_visible()
    page.locator("summary", has_text="View Options").click()
    page.get_by_label("Hide lines that match").fill(".")
    page.get_by_role("button", name="Apply").click()
    hidden = page.get_by_text("Your View Options hide every difference in this file.")
    expect(hidden).to_have_count(3)  # the renamed one differs by its name alone
    expect(page.locator(".y-difftool")).not_to_contain_text("Nothing hidden")
    expect(page.locator(".y-head .chip")).to_have_text("Modified")


def test_new_runs_wait_and_only_the_starter_is_told_of_a_cancel(
    window: Opener, job: Job, agent: Enrolled, edda: User, vera: User
) -> None:
    """S3-46, S2-15: rows do not move by themselves; a toast, and no sound, for a cancelled run."""
    first = factories.run(job, by=edda)
    mine, hers = window(edda), window(vera)
    for opened in (mine, hers):
        opened.go("/jobs/history")
        is_live(opened.page)
    other = factories.job(job.target, job.function, owner=edda, name="Second backup")
    second = factories.run(other, by=edda)
    for opened in (mine, hers):
        expect(opened.page.locator("#fresh")).to_have_text("1 new run, show")
        expect(opened.page.locator(f"#run-{second.public_id}")).to_have_count(0)
    expect(hers.page.get_by_role("button", name="Cancel")).to_have_count(0)
    mine.page.get_by_role("button", name=f"Cancel {job.name}").click()
    for opened in (mine, hers):
        expect(opened.page.locator(f"#run-{first.public_id} .chip")).to_have_text("Canceled")
    expect(mine.page.locator("#toasts")).to_contain_text(f"{job.name} canceled")
    expect(hers.page.locator("#toasts")).to_be_empty()
    assert mine.page.evaluate("document.documentElement.dataset.chimed ?? 0") == 0
    mine.page.locator("#fresh").click()
    expect(mine.page.locator(f"#run-{second.public_id}")).to_be_visible()


def test_seven_tabs_are_live_over_one_connection(
    window: Opener, job: Job, edda: User, vera: User
) -> None:
    """A browser opens six connections to a host: tabs share one, and hand it on when they close."""
    first = window(edda)
    context = first.page.context
    streams: list[str] = []
    context.on(
        "request",
        lambda request: streams.append(request.url) if "/live/events" in request.url else None,
    )
    first.go("/jobs/history")
    is_live(first.page)
    opened = len(streams)
    others = [context.new_page() for _ in range(6)]
    for page in others:
        page.goto(f"{first.base}/jobs/history")
        expect(page.locator(".y-live")).to_have_text("Live")
    assert len(streams) == opened
    factories.run(job, by=vera)
    for page in (first.page, *others):
        expect(page.locator("#fresh")).to_have_text("1 new run, show")
    with context.expect_event("request", lambda request: "/live/events" in request.url):
        first.page.close()
    assert len(streams) == opened + 1
    for page in others:
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-stream", "up")
    other = factories.job(job.target, job.function, owner=edda, name="Second backup")
    factories.run(other, by=vera)
    for page in others:
        expect(page.locator("#fresh")).to_have_text("1 new run, show")


def test_an_agent_turns_green_while_one_watches(window: Opener, alice: User) -> None:
    alice_s = window(alice)
    page = alice_s.go("/agents")
    page.get_by_role("link", name="Add an agent").first.click()
    page.get_by_label("Name", exact=True).fill("hall-02")
    page.get_by_role("button", name="Get the line").click()
    expect(page.get_by_text("Waiting for the first contact")).to_be_visible()
    expect(page.locator(".y-live")).to_have_text("Live")
    page.get_by_role("button", name="Copy the line").click()
    line = page.evaluate("navigator.clipboard.readText()")
    code = re.fullmatch(r"yardmaster agent enroll \S+/a/(\S+) && yardmaster agent run", line)
    assert code
    body = {"code": code[1], "name": "", "version": "1", "platform": "Linux", "tools": [FOLDER]}
    enrolled = Client().post("/api/v1/agent/enroll", body, content_type="application/json")
    assert enrolled.status_code == 201
    expect(page.get_by_text("hall-02 is active.")).to_be_visible()
    expect(page.get_by_text("1 tool: folder")).to_be_visible()
    expect(page.locator("#agents-head")).to_contain_text("1 of 1 active")


def test_the_theme_is_kept_and_the_caret_menu_obeys_the_keyboard(
    window: Opener, job: Job, edda: User, vera: User
) -> None:
    """A row that a live change replaces meanwhile leaves the keyboard where it was."""
    edda_s = window(edda, theme="dark")
    page = edda_s.go("/jobs/manage")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.locator("summary[aria-label=Theme]").click()
    page.get_by_role("button", name="Light").click()
    light = page.evaluate(ground)
    assert light != dark
    page.reload()
    assert page.evaluate(ground) == light
    is_live(page)
    caret = page.locator(f"summary[aria-label='More for {job.name}']")
    caret.focus()
    factories.run(job, by=vera)
    expect(page.locator(f"#job-{job.public_id} .chip")).to_have_text("Pending")
    expect(caret).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="Edit job")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Edit job")).to_be_hidden()
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()


def test_filters_are_menus_that_fold_into_one_button_on_phones(
    window: Opener, job: Job, edda: User
) -> None:
    factories.run(job, by=edda)
    for width in (1440, 390):
        page = window(edda, width=width).go("/jobs/history")
        status = page.locator("summary", has_text="Status")
        if width == 390:
            expect(status).to_be_hidden()
            page.get_by_role("button", name="Filters").click()
        status.click()
        page.get_by_label("Failed").check()
        page.get_by_label("Timed Out").check()
        page.get_by_role("button", name="Apply").first.click()
        expect(page.locator(".y-pill")).to_have_text("Status is Failed, Timed Out")
        expect(page.get_by_text("Nothing matches")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.get_by_role("link", name="Remove: Status is").click()
        expect(page.locator("tbody").get_by_text(job.name).first).to_be_visible()


def test_a_token_is_copied_in_the_browser(window: Opener, edda: User) -> None:
    page = window(edda).go("/profile")
    page.get_by_label("What it is for").fill("nightly export")
    page.get_by_role("button", name="Make token").click()
    page.get_by_role("button", name="Copy the token").click()
    token = page.evaluate("navigator.clipboard.readText()")
    headers = {"Authorization": f"Bearer {token}"}
    assert Client().get("/api/v1/me", headers=headers).json()["username"] == edda.username
    page.goto(page.url)
    expect(page.get_by_text("nightly export")).to_be_visible()
    expect(page.get_by_text(token)).to_have_count(0)


# Of the second look what depends on colours and width, and on what phones alone are shown.
NARROW = [
    "aria-hidden-focus", "button-name", "color-contrast", "link-name", "nested-interactive",
    "scrollable-region-focusable", "target-size",
]  # fmt: skip
# What passes is not told: it is most of what axe finds.
FAULTS = {"resultTypes": ["violations"]}
LOOKS: list[tuple[int, Literal["light", "dark"], dict[str, Any]]] = [
    (1440, "light", FAULTS),
    (360, "dark", FAULTS | {"runOnly": NARROW}),
]


def test_every_page_is_for_everyone_and_fits(
    window: Opener, job: Job, agent: Enrolled, alice: User
) -> None:
    """WCAG 2.2: axe finds nothing, nothing scrolls sideways: on a desk, on a phone at night."""
    for files, accepted in ((FIRST, True), (SECOND, False)):
        job.auto_commit = accepted
        job.save()
        run = factories.run(job, by=alice)
        back_up(agent.api, files)
    # Her mail is off: two wait at her bell.
    Subscription.objects.create(user=alice, site=job.site, level="everything")
    fanning.fan_out()
    Channel.objects.create(user=alice, kind="email", address=alice.email, error="No such mailbox.")
    waiting = factories.run(job, by=alice)
    pool = job.organization.pools.create(name="Presses", restricted=True)
    pool.agents.add(agent.agent)
    opened = window(alice)
    page = opened.page
    tabs = [f"/jobs/{run.public_id}?tab={tab}" for tab in ("summary", "changes", "history")]
    edda_s = Membership.objects.get(user=job.owner)
    team = teams.add_team(job.organization, "Night shift")
    teams.add_to_team(team, edda_s)
    set_role(team.group, "viewer", on=job.site)
    invitation = invitations.invite(
        job.organization, email="new@example.com", role="member", by=alice
    )
    login, unused = (
        factories.credential(job.organization, by=alice, name=name)
        for name in ("Line login", "Old login")
    )
    save_target(job.target, credential=login)
    for days, (outcome, late_s) in enumerate(
        (("started", 1), ("started", 200), ("skipped", 1), ("missed", 900)), start=1
    ):
        occurred(job, timezone.now() - timedelta(days=days), outcome, late_s=late_s)
    factories.target(job.site, "Weighbridge")
    # Their banners stand on the pages.
    pause: dict[str, Any] = {
        "until": timezone.now() + timedelta(days=2),
        "reason": "New bearings",
        "by": alice,
    }
    definitions.pause(job, **pause)
    pause_site(job.site, **pause)
    enrolment.pause(agent.agent, **pause)
    for path in (
        "/",
        "/jobs",
        "/jobs?tab=all",
        "/jobs/history",
        "/jobs/history?outcome=failed",
        "/jobs/history?status=completed&within=7&ordering=-duration&columns=finished&columns=tags",
        "/jobs/planned",
        "/jobs/planned?outcome=missed&within=7",
        "/jobs/proposals",
        "/notifications",
        "/notifications?show=unread",
        "/profile",
        "/accounts/second-factor/",
        "/accounts/reauthenticate/",
        "/accounts/password/reset/",
        "/accounts/password/reset/sent/",
        "/accounts/password/reset/done/",
        "/accounts/password/reset/0-gone/",
        "/jobs/manage",
        f"/jobs/manage/add?function={job.function.public_id}",
        f"/jobs/manage/{job.public_id}",
        f"/jobs/manage/{job.public_id}/pause",
        f"/jobs/manage/{job.public_id}/archive",
        f"/jobs/{waiting.public_id}",
        *tabs,
        "/sites",
        "/sites/coverage",
        "/sites/credentials",
        "/sites/credentials/add?kind=key",
        f"/sites/credentials/{login.public_id}",
        f"/sites/credentials/{login.public_id}/edit",
        f"/sites/credentials/{unused.public_id}/archive",
        "/members",
        f"/members/{edda_s.public_id}",
        f"/members/{edda_s.public_id}/remove",
        "/members/invitations",
        "/members/invitations/add",
        f"/members/invitations/{invitation.public_id}/revoke",
        "/members/teams",
        f"/members/teams/{team.public_id}",
        f"/members/teams/{team.public_id}/delete",
        "/agents",
        "/agents/add",
        f"/agents/{agent.agent.public_id}",
        f"/agents/{agent.agent.public_id}/retire",
        "/agents/pools",
        "/health",
        f"/agents/pools/{pool.public_id}",
        f"/agents/pools/{pool.public_id}/archive",
    ):
        for width, scheme, options in LOOKS:
            page.set_viewport_size({"width": width, "height": 900})
            # Without the motion that leads from one colour to the other.
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            if scheme == "light":
                opened.go(path)
                page.evaluate(AXE_SCRIPT)
            found = page.evaluate("options => axe.run(options)", options)["violations"]
            seen = [(one["id"], one["nodes"][0]["html"]) for one in found]
            assert seen == [], (path, scheme)
            fits = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert fits, (path, width)


def test_a_first_load_fits_in_250_kb(window: Opener, edda: User) -> None:
    page = window(edda).go("/jobs/manage")
    page.wait_for_load_state("load")
    sizes = page.evaluate(
        "performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))"
        ".map(each => [new URL(each.name).pathname, each.decodedBodySize])"
    )
    files = {path: size for path, size in sizes if path.startswith("/static/")}
    # Measured as they are, without the compression that production adds: all but Tabler's CSS,
    # which takes 79 kB compressed.
    rest = sum(size for path, size in files.items() if "tabler-1" not in path)
    assert any("tabler-1" in path for path in files)
    assert rest + 79_000 < 250_000, files
