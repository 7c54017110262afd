"""The portal's pages of jobs and runs, as each person of the cast gets them."""

from __future__ import annotations

import re
import uuid

import pytest
from django.test import Client

from jobs import transitions
from jobs.models import Job, JobRun
from sites.models import Organization, Site, Target, User
from tests import factories
from tests.backups import back_up
from tests.factories import Enrolled
from tests.pages import as_, html

pytestmark = [pytest.mark.django_db, pytest.mark.once]

LISTS = ("/", "/jobs", "/jobs?tab=all", "/jobs/history", "/jobs/manage", "/sites", "/agents")


# What differs between two answers to the same person: tokens, the address, the time.
_CHANGING = re.compile(r'csrfmiddlewaretoken" value="[^"]*"|/jobs/[0-9a-f-]{36}|content="20[^"]*"')


@pytest.mark.parametrize("path", LISTS)
def test_anonymous_people_are_sent_to_log_in(path: str) -> None:
    answer = Client().get(path)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/accounts/login/?next=")


@pytest.mark.parametrize("path", LISTS)
def test_every_list_stands_empty_and_says_what_comes_next(path: str, mia: User) -> None:
    assert "<h1" in html(mia, path)


@pytest.mark.parametrize("path", [*LISTS, "/agents/add", "/jobs/manage/add"])
def test_someone_of_no_organization_is_told_so(path: str, db: None) -> None:
    stranger = User.objects.create_user("stranger", password=factories.PASSWORD)
    page = html(stranger, path)
    assert "You belong to no organization yet" in page
    assert "Job Management" not in page


def test_the_first_superuser_is_led_to_the_first_organization(root: User) -> None:
    page = html(root, "/")
    assert "There is no organization yet" in page
    assert 'href="/admin/sites/organization/add/"' in page


def test_a_run_that_one_may_not_see_is_answered_as_one_that_is_not_there(
    job: Job, edda: User, mia: User, oscar: User
) -> None:
    run = factories.run(job, by=edda)
    for user in (mia, oscar):
        hidden = as_(user).get(f"/jobs/{run.public_id}")
        missing = as_(user).get(f"/jobs/{uuid.uuid4()}")
        assert hidden.status_code == missing.status_code == 404
        bare = [_CHANGING.sub("", answer.content.decode()) for answer in (hidden, missing)]
        assert bare[0] == bare[1]
        assert run.name not in html(user, "/jobs/history")


def test_all_jobs_is_a_tab_of_administrators_alone(job: Job, edda: User, alice: User) -> None:
    """S2-01, S2-13, S3-02, S3-03, S3-09, S3-10: only administrators may switch to All Jobs."""
    run = factories.run(job, by=edda)
    assert str(run.public_id) not in html(alice, "/jobs")
    assert str(run.public_id) in html(alice, "/jobs?tab=all")
    assert "All Jobs" in html(alice, "/jobs")
    assert "All Jobs" not in html(edda, "/jobs?tab=all")
    assert str(run.public_id) in html(edda, "/jobs")


def test_backup_now_starts_a_run_and_comes_back_to_the_list(job: Job, edda: User) -> None:
    """S0-02: one button in each row runs the job on demand."""
    page = html(edda, "/jobs/manage")
    assert f'action="/jobs/manage/{job.public_id}/run"' in page
    assert "Backup Now" in page
    answer = as_(edda).post(
        f"/jobs/manage/{job.public_id}/run", {"next": "/jobs/manage?search=press"}
    )
    assert (answer.status_code, answer.headers["Location"]) == (302, "/jobs/manage?search=press")
    assert JobRun.objects.get().started_by == edda
    assert "Pending" in html(edda, "/jobs/manage")


@pytest.mark.parametrize(
    "to",
    [
        *("https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example"),
        *("https:elsewhere.example", "javascript:alert(1)", "abc", "home", "x.y", ""),
    ],
)
def test_a_form_leads_back_to_a_page_of_the_portal_alone(to: str, job: Job, edda: User) -> None:
    answer = as_(edda).post(f"/jobs/manage/{job.public_id}/run", {"next": to})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/jobs/manage")


def test_a_viewer_sees_the_job_and_no_button_to_run_it(job: Job, vera: User, mia: User) -> None:
    page = html(vera, "/jobs/manage")
    assert job.name in page
    assert "Backup Now" not in page
    assert "Edit job" not in page
    assert as_(vera).post(f"/jobs/manage/{job.public_id}/run").status_code == 403
    assert as_(mia).post(f"/jobs/manage/{job.public_id}/run").status_code == 404
    assert not JobRun.objects.exists()


def test_cancel_is_offered_to_the_starter_while_pending(
    job: Job, agent: Enrolled, edda: User, alice: User
) -> None:
    """S3-08, S3-33 to S3-35, S2-15: no override for administrators, nothing once it is claimed."""
    run = factories.run(job, by=edda)
    path = f"/jobs/{run.public_id}/cancel"
    assert path in html(edda, "/jobs")
    assert path not in html(alice, "/jobs?tab=all")
    assert as_(alice).post(path).status_code == 403
    agent.api.claim()
    assert path not in html(edda, "/jobs")
    as_(edda).post(path, {"next": "/jobs"})
    run.refresh_from_db()
    assert run.status == "claimed"
    again = factories.run(
        factories.job(job.target, job.function, owner=edda, name="Second backup"), by=edda
    )
    as_(edda).post(f"/jobs/{again.public_id}/cancel", {"next": "/jobs"})
    again.refresh_from_db()
    assert again.status == "canceled"
    assert "Canceled" in html(edda, "/jobs/history")


def test_a_failed_run_shows_its_error_and_view_details(
    job: Job, agent: Enrolled, edda: User
) -> None:
    """S0-24, S2-06, S2-07: View Details only when final, the error behind the caret."""
    run = factories.run(job, by=edda)
    newest = f"/jobs/manage/{job.public_id}"
    assert "View Details of" not in html(edda, "/jobs/history")
    assert 'aria-label="View Details,' not in html(edda, newest)
    held = agent.api.claim()[0]
    agent.api.move(held, "running")
    agent.api.finish(held, "failed", message="Refused.", error="The device <b>refused</b> it.")
    page = html(edda, "/jobs/history")
    assert "View Details of" in page
    assert 'aria-label="View Details,' in html(edda, newest)
    assert "The device &lt;b&gt;refused&lt;/b&gt; it." in page
    detail = html(edda, f"/jobs/{run.public_id}")
    assert "The accepted backup is untouched." in detail
    assert "Retry" in detail
    assert "1 thing needs you" in html(edda, "/")
    # What has done nothing yet makes nothing well: not the next one that waits, nor a canceled one.
    again = factories.run(job, by=edda)
    home = html(edda, "/")
    assert "1 thing needs you" in home
    waits = f'href="/jobs/{again.public_id}" aria-label="View the next run of {run.name}"'
    assert waits in home
    assert f"/jobs/{run.public_id}/retry" not in home
    transitions.cancel(again, by=edda)
    home = html(edda, "/")
    assert "1 thing needs you" in home
    assert waits not in home
    assert f"/jobs/{run.public_id}/retry" in home
    factories.run(job, by=edda)
    agent.api.move(agent.api.claim()[0], "running")
    assert "Nothing needs you" in html(edda, "/")


def test_retry_is_a_new_run_of_who_presses(
    job: Job, agent: Enrolled, edda: User, alice: User, vera: User
) -> None:
    run = factories.run(job, by=edda)
    held = agent.api.claim()[0]
    agent.api.move(held, "running")
    agent.api.finish(held, "failed", message="No.")
    assert as_(vera).post(f"/jobs/{run.public_id}/retry").status_code == 403
    answer = as_(alice).post(f"/jobs/{run.public_id}/retry")
    again = JobRun.objects.get(retry_of=run)
    assert again.started_by == alice
    assert answer.headers["Location"] == f"/jobs/{again.public_id}"


def test_the_status_history_shows_every_transition(job: Job, agent: Enrolled, edda: User) -> None:
    """S3-32: a collapsible table of all transitions with their times."""
    run = factories.run(job, by=edda)
    held = agent.api.claim()[0]
    agent.api.move(held, "running")
    agent.api.move(held, "validating")
    page = html(edda, f"/jobs/{run.public_id}?tab=history")
    table = page[page.index('<details class="y-card y-fold"') :]
    assert [word for word in ("Pending", "Claimed", "Running", "Validating") if word in table] == [
        "Pending",
        "Claimed",
        "Running",
        "Validating",
    ]


def test_secret_parameters_are_shown_to_nobody(
    press: Target, backup: object, edda: User, alice: User, agent: Enrolled
) -> None:
    saved = factories.job(
        press,
        backup,  # type: ignore[arg-type]
        owner=edda,
        parameters={"password": "hunter2hunter2", "exclude": ["*.tmp"]},
    )
    run = factories.run(saved, by=edda)
    for path in (
        f"/jobs/{run.public_id}",
        f"/jobs/manage/{saved.public_id}",
        f"/jobs/manage/{saved.public_id}/edit",
    ):
        page = html(edda, path)
        assert "hunter2" not in page, path
        assert "*.tmp" in page, path


def test_the_log_tab_shows_text_and_never_markup(job: Job, agent: Enrolled, edda: User) -> None:
    run = factories.run(job, by=edda)
    held = agent.api.claim()[0]
    agent.api.move(held, "running")
    text = "\x1b[31mred\x1b[0m <script>alert(1)</script>\n"
    agent.api.post(agent.api.of(held, "log"), {"offset": 0, "text": text})
    page = html(edda, f"/jobs/{run.public_id}?tab=log")
    assert "red &lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "\x1b" not in page


def test_view_options_that_hide_everything_say_so(
    job: Job, agent: Enrolled, edda: User, mia: User
) -> None:
    """S0-25, S0-26: it opens with nothing hidden; hiding all of it changes no result."""
    for content in (b"speed = 1\n", b"speed = 2\n"):
        run = factories.run(job, by=edda)
        back_up(agent.api, {"drive.ini": content})
    path = f"/jobs/{run.public_id}?tab=changes"
    opened = html(edda, path)
    assert "Nothing hidden" in opened
    assert "<del>1</del>" in opened
    assert "<ins>2</ins>" in opened
    hidden = html(edda, f"{path}&pattern=speed")
    assert "Your View Options hide every difference" in hidden
    assert "The result stays Modified." in hidden
    assert "This pattern hides nothing." in html(edda, f"{path}&pattern=(")
    assert as_(mia).get(path).status_code == 404


def test_history_is_narrowed_by_outcome_and_searched_by_name_and_id(
    job: Job, agent: Enrolled, edda: User
) -> None:
    """S0-11, S1-02, S1-10, S1-13: outcomes as tabs; a name or the beginning of an id is found."""
    run = factories.run(job, by=edda)
    row = f'id="run-{run.public_id}"'
    assert row in html(edda, "/jobs/history?outcome=running")
    assert row not in html(edda, "/jobs/history?outcome=failed")
    assert "Nothing matches" in html(edda, "/jobs/history?outcome=failed")
    assert row in html(edda, f"/jobs/history?search={str(run.public_id)[:6]}")
    assert row in html(edda, "/jobs/history?search=press line")
    assert row not in html(edda, "/jobs/history?search=%25")


@pytest.mark.parametrize(
    "query",
    [
        "cursor=nonsense",
        "cursor=WyJhZnRlciIsIjAwMDEtMDEtMDEiLDFd",
        "size=7",
        "status=nonsense",
        "job=1",
        "search=%00%27%22%25",
        "rows=1,nonsense",
        "started_after=yesterday",
    ],
)
def test_nonsense_in_the_address_breaks_no_list(query: str, edda: User, job: Job) -> None:
    assert as_(edda).get(f"/jobs/history?{query}").status_code == 200
    assert as_(edda).get(f"/jobs/manage?{query}").status_code == 200


def test_pages_lead_older_and_newer_without_losing_a_run(
    press: Target, backup: object, edda: User, agent: Enrolled
) -> None:
    job = factories.job(press, backup, owner=edda, overlap="allow")  # type: ignore[arg-type]
    made = [str(factories.run(job, by=edda).public_id) for _ in range(57)]
    seen: list[str] = []
    client, path = as_(edda), "/jobs/history?size=25"
    pages = []
    while path:
        page = client.get(path).content.decode()
        found = re.findall(r'<tbody id="run-([0-9a-f-]{36})"', page)
        seen += found
        pages.append(found)
        older = re.search(r'href="(\?[^"]*cursor=[^"]*)">Older', page)
        path = f"/jobs/history{older[1].replace('&amp;', '&')}" if older else ""
        newer = re.search(r'href="(\?[^"]*cursor=[^"]*)"><svg[^>]*><use[^>]*/></svg>Newer', page)
    assert seen == list(reversed(made))
    assert [len(page) for page in pages] == [25, 25, 7]
    assert newer
    back = client.get(f"/jobs/history{newer[1].replace('&amp;', '&')}").content.decode()
    assert re.findall(r'<tbody id="run-([0-9a-f-]{36})"', back) == pages[1]


def test_a_live_page_gets_the_rows_it_asks_for_without_the_frame(
    job: Job, edda: User, mia: User
) -> None:
    """A row that is shown is drawn again though the filters have lost it; a fresh one is not."""
    run = factories.run(job, by=edda)
    path = f"/jobs/history?outcome=failed&rows={run.public_id}"
    answer = as_(edda).get(path, headers={"HX-Request": "true"}).content.decode()
    assert f'id="run-{run.public_id}"' in answer
    assert "y-side" not in answer
    fresh = f"/jobs/history?outcome=failed&fresh={run.public_id}"
    assert f'id="run-{run.public_id}"' not in html(edda, fresh)
    assert f'id="run-{run.public_id}"' in html(edda, f"/jobs/history?fresh={run.public_id}")
    assert f'id="run-{run.public_id}"' not in html(mia, path)


def test_a_job_is_added_edited_and_archived(
    press: Target, backup: object, agent: Enrolled, edda: User, vera: User, mia: User
) -> None:
    """S0-03, S0-04, S0-27: add a job, edit it and its limits, archive it by typing its name."""
    client = as_(edda)
    form = {
        "name": "Nightly",
        "target": str(press.public_id),
        "who": f"agent:{agent.agent.public_id}",
        "run_timeout": "10",
        "queue_timeout": "60",
        "tags": "daily, production",
        "p_exclude": "*.tmp\r\n*.log",
        "p_password": "s3cret-value",
        "auto_commit": "on",
    }
    function = f"/jobs/manage/add?function={backup.public_id}"  # type: ignore[attr-defined]
    answer = client.post(function, form)
    job = Job.objects.get()
    assert answer.headers["Location"] == f"/jobs/manage/{job.public_id}"
    assert (job.owner, job.agent, job.run_timeout_s, job.tags) == (
        edda,
        agent.agent,
        600,
        ["daily", "production"],
    )
    assert job.parameters == {"exclude": ["*.tmp", "*.log"], "password": "s3cret-value"}

    edit = f"/jobs/manage/{job.public_id}/edit"
    assert as_(vera).get(edit).status_code == 403
    assert as_(mia).get(edit).status_code == 404
    client.post(edit, form | {"name": "Every night", "who": "automatic", "p_password": ""})
    job.refresh_from_db()
    assert (job.name, job.agent, job.parameters["password"]) == (
        "Every night",
        None,
        "s3cret-value",
    )

    archive = f"/jobs/manage/{job.public_id}/archive"
    assert client.post(archive, {"name": "Nightly"}).status_code == 409
    assert client.post(archive, {"name": "Every night"}).headers["Location"] == "/jobs/manage"
    assert "Every night" not in html(edda, "/jobs/manage?search=night")
    assert "This job is archived." in html(edda, f"/jobs/manage/{job.public_id}")


def test_a_job_that_is_refused_says_why_at_the_field(
    press: Target, backup: object, edda: User, elsewhere: Organization, agent: Enrolled
) -> None:
    foreign = factories.target(factories.site(elsewhere, "Quay"), "Crane")
    form = {
        "name": "",
        "target": str(foreign.public_id),
        "who": "agent:nonsense",
        "run_timeout": "0",
        "queue_timeout": "60",
    }
    answer = as_(edda).post(
        f"/jobs/manage/add?function={backup.public_id}",  # type: ignore[attr-defined]
        form,
    )
    page = answer.content.decode()
    assert answer.status_code == 422
    assert not Job.objects.exists()
    assert page.count("This field is required.") == 2  # in the note on top and at the field
    assert "Crane" not in page


def test_archiving_waits_for_active_runs(job: Job, edda: User) -> None:
    factories.run(job, by=edda)
    answer = as_(edda).post(f"/jobs/manage/{job.public_id}/archive", {"name": job.name})
    assert answer.status_code == 409
    assert "has an active run" in answer.content.decode()
    job.refresh_from_db()
    assert job.archived_at is None


def test_names_of_people_and_things_are_never_markup(
    hall: Site, backup: object, edda: User
) -> None:
    target = factories.target(hall, "<img src=x onerror=alert(1)>")
    job = factories.job(target, backup, owner=edda, name="<script>x</script>")  # type: ignore[arg-type]
    run = factories.run(job, by=edda)
    for path in ("/", "/jobs", "/jobs/history", "/jobs/manage", f"/jobs/{run.public_id}", "/sites"):
        page = html(edda, path)
        assert "<script>x" not in page, path
        assert "<img src=x" not in page, path


def test_times_are_the_sites_with_the_zone_named(
    works: Organization, backup: object, edda: User, alice: User
) -> None:
    tokyo = factories.site(works, "Port", time_zone="Asia/Tokyo")
    job = factories.job(factories.target(tokyo, "Crane"), backup, owner=alice)  # type: ignore[arg-type]
    run = factories.run(job, by=alice)
    page = html(alice, "/jobs/history")
    assert "Times in Asia/Tokyo (JST)" in page
    assert "JST" in html(alice, f"/jobs/{run.public_id}")


def test_home_leads_to_no_run_that_the_viewer_may_not_see(
    job: Job, agent: Enrolled, cast: dict[str, User]
) -> None:
    """A manager sees of a job the runs that they started themselves (domain rule 2)."""
    run = factories.run(job, by=cast["manuel"])
    held = agent.api.claim()[0]
    agent.api.move(held, "running")
    agent.api.finish(held, "failed", message="No.")
    again = factories.run(job, by=cast["edda"])
    home = html(cast["manuel"], "/")
    assert f"/jobs/{run.public_id}/retry" in home
    assert str(again.public_id) not in home
    assert str(again.public_id) in html(cast["edda"], "/")


def test_only_who_may_add_a_job_is_offered_it(job: Job, cast: dict[str, User]) -> None:
    for who, may in (("alice", True), ("manuel", True), ("edda", True), ("vera", False)):
        page, rows, none = (
            html(cast[who], f"/jobs/manage{query}")
            for query in ("", f"?rows={job.public_id}", "?search=nothing")
        )
        assert (">Duplicate<" in page, ">Duplicate<" in rows) == (may, may), who
        assert (f"?like={job.public_id}" in page) == may, who
        assert ('href="/jobs/manage/add"' in none) == may, who
