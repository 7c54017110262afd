"""What people and machines write is shown as text: nothing of it runs, in the portal or the admin.

Each window fails at its end on a console error (a refused script is one) and on a request to
another host.
"""

from __future__ import annotations

from urllib.parse import quote
from uuid import uuid4

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from agents.models import AgentPool
from jobs.models import Job, JobRun, RunFile
from sites.models import Organization, Site, Target, User
from tests import factories
from tests.backups import leave_file, send
from tests.browser.conftest import Opener, Window
from tests.factories import Enrolled

pytestmark = pytest.mark.browser

# Out of an attribute, out of a text, as an address and as a template.
RUN = "window.ran=1"
HOSTILE = (
    f"""'"><img src=x: onerror={RUN}><svg onload={RUN}><script>{RUN}</script>{{{{77*7777}}}}"""
)
NAME = HOSTILE.replace("/", "")  # a path of one step
SCRIPT = f"<html><body onload={RUN}><script>{RUN}</script></body></html>".encode()
IMAGE = f'<svg xmlns="http://www.w3.org/2000/svg" onload="{RUN}"><script>{RUN}</script></svg>'


@pytest.fixture
def run(
    works: Organization, hall: Site, press: Target, job: Job, agent: Enrolled, edda: User,
    alice: User,
) -> JobRun:  # fmt: skip
    """A backup that proposes a change, everything in and around it hostile."""
    Organization.objects.filter(pk=works.pk).update(name=HOSTILE[:100])
    Site.objects.filter(pk=hall.pk).update(name=HOSTILE[:100])
    Target.objects.filter(pk=press.pk).update(name=HOSTILE[:100], address=HOSTILE)
    User.objects.filter(pk=edda.pk).update(first_name=NAME[:100], last_name=NAME[:100])
    Job.objects.filter(pk=job.pk).update(
        name=HOSTILE[:100], tags=[HOSTILE], auto_commit=False, describe_changes=True,
        parameters={"exclude": [HOSTILE]},
    )  # fmt: skip
    type(agent.agent).objects.filter(pk=agent.agent.pk).update(name=HOSTILE[:100])
    AgentPool.objects.create(organization=works, name=HOSTILE[:100]).agents.add(agent.agent)
    factories.credential(works, by=alice, name=HOSTILE[:100], username=HOSTILE[:100])
    job.refresh_from_db()
    for text in (b"calm\n", f"calm\n{HOSTILE}\n".encode()):
        made = factories.run(job, by=edda)
        [held] = agent.api.claim()
        agent.api.move(held, "running", message=HOSTILE)
        about = {"offset": 0, "text": f"{HOSTILE}\n\x1b[31m{HOSTILE}\n"}
        assert agent.api.post(agent.api.of(held, "log"), about).status_code == 200
        record = {"sequence": 1, "status": "failed"} | dict.fromkeys(
            ("record_id", "name", "result", "error"), HOSTILE[:200]
        )
        rows = {"records": [record]}
        assert agent.api.post(agent.api.of(held, "records"), rows).status_code == 200
        leave_file(agent.api, held, uuid4(), f"{NAME}.html", SCRIPT)
        leave_file(agent.api, held, uuid4(), f"{NAME}.svg", IMAGE.encode())
        send(agent.api, held, {f"a/{NAME}": text, "page.html": SCRIPT + text})
        assert agent.api.finish(held, message=HOSTILE, summary=HOSTILE).status_code == 200
    factories.run(job, by=edda)
    return JobRun.objects.get(pk=made.pk)


def nothing_ran(opened: Window, path: str) -> None:
    page = opened.go(path)
    assert page.evaluate("window.ran") is None, path
    assert page.locator("[onload], [onerror]").count() == 0, path
    assert str(77 * 7777) not in page.locator("h1").first.inner_text(), path


def test_nothing_that_was_written_runs_in_the_portal(
    window: Opener, run: JobRun, job: Job, agent: Enrolled, edda: User
) -> None:
    opened = window(edda)
    about = f"/jobs/manage/{job.public_id}"
    columns = "&".join(f"columns={name}" for name in ("process", "message", "tags", "agent"))
    for path in (
        "/", "/jobs", f"/jobs/history?{columns}", f"/jobs/history?search={quote(HOSTILE)}",
        "/jobs/proposals", "/sites", "/agents", f"/agents/{agent.agent.public_id}", "/profile",
        "/jobs/manage", f"/jobs/manage?search={quote(HOSTILE[:60])}", about, f"{about}/edit",
        f"{about}/archive", f"/jobs/manage/add?like={job.public_id}",
    ):  # fmt: skip
        nothing_ran(opened, path)
    for tab in ("summary", "changes", "log", "history", "files", "details"):
        nothing_ran(opened, f"/jobs/{run.public_id}?tab={tab}")
        expect(opened.page.locator("main")).to_contain_text(f"onerror={RUN}")


def test_nothing_that_was_written_runs_in_the_admin(
    window: Opener, run: JobRun, job: Job, agent: Enrolled, alice: User
) -> None:
    opened = window(alice)
    for one in (run, job, job.target, job.site, agent.agent):
        name = f"admin:{one._meta.app_label}_{one._meta.model_name}"
        nothing_ran(opened, reverse(f"{name}_changelist"))
        nothing_ran(opened, reverse(f"{name}_change", args=[one.pk]))
        assert "onerror" in opened.page.content()


def test_a_file_is_never_opened_as_a_page(window: Opener, run: JobRun, edda: User) -> None:
    """It is sent to be saved; even where a browser would show it, it may do nothing."""
    opened = window(edda)
    page = opened.go(f"/jobs/{run.public_id}?tab=files")
    for file in RunFile.objects.filter(run=run):
        link = page.locator(f'a[href*="{file.public_id}"]').first
        with page.expect_download() as saved:
            link.click()
        assert saved.value.suggested_filename.endswith((".html", ".svg"))
        assert page.evaluate("window.ran") is None
        answer = page.request.get(opened.base + (link.get_attribute("href") or ""))
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
