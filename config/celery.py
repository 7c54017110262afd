"""What ticks, and where tasks run; beat only ticks, what is due is in the database."""

import os

from celery import Celery
from celery.schedules import crontab
from kombu import Exchange, Queue

from . import broker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.production")

broker.install()
app = Celery("yardmaster")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

# What keeps time has a queue of its own: a slow task cannot hold it up where another worker has
# that one (Procfile). A worker that is told nothing has both.
CLOCK = "clock"
app.conf.task_queues = [
    # Each with its own key: Celery would give both the same, and each would get the other's tasks.
    Queue(name, Exchange(name), routing_key=name)
    for name in (app.conf.task_default_queue, CLOCK)
]

# A tick that waited longer than its interval is worthless: the next one does its work.
app.conf.beat_schedule = {
    "start what is due": {
        "task": "jobs.tasks.plan",
        "schedule": 5.0,
        "options": {"expires": 5, "queue": CLOCK},
    },
    "try again": {
        "task": "jobs.tasks.retry",
        "schedule": 5.0,
        "options": {"expires": 5, "queue": CLOCK},
    },
    "sweep runs": {
        "task": "jobs.tasks.sweep",
        "schedule": 10.0,
        "options": {"expires": 10, "queue": CLOCK},
    },
    "tell of what happened": {
        "task": "notifications.tasks.fan_out",
        "schedule": 5.0,
        "options": {"expires": 5, "queue": CLOCK},
    },
    "find lost agents": {
        "task": "agents.tasks.mark_lost",
        "schedule": 10.0,
        "options": {"expires": 10, "queue": CLOCK},
    },
    "reword messages": {
        "task": "jobs.tasks.reword",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    "send password links": {
        "task": "sites.tasks.send_password_links",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    # Not among what keeps time: a mail server may take its.
    "send mail": {
        "task": "notifications.tasks.deliver",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    # Not in the sweep itself: whether that is done in time is what it tells.
    "ping the monitor": {
        "task": "config.tasks.ping_monitor",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "tidy": {"task": "jobs.tasks.tidy", "schedule": 900.0, "options": {"expires": 900}},
    # Before the storage is tidied, which takes the files of what has gone.
    "prune": {"task": "jobs.tasks.prune", "schedule": crontab(hour="2", minute="20")},
    "tidy storage": {"task": "jobs.tasks.tidy_storage", "schedule": crontab(hour="3", minute="20")},
}
# Beat keeps its times in memory: there is nothing in them that the database does not know better.
app.conf.beat_scheduler = "celery.beat:Scheduler"
