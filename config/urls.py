"""Which door answers which address."""

from django.contrib import admin
from django.urls import include, path

from config import health, metrics, views

urlpatterns = [
    path("healthz", health.alive, name="healthz"),
    path("readyz", health.ready, name="readyz"),
    path("metrics", metrics.metrics, name="metrics"),
    path("health", views.health, name="health"),
    path("admin/", admin.site.urls),
    path("accounts/", include("config.accounts")),
    path("api/v1/agent/", include("agents.api.urls")),
    path("api/v1/agent/", include("jobs.api.agent.urls")),
    path("api/v1/", include("config.api")),
    path("", include("sites.urls")),
    path("", include("agents.urls")),
    path("", include("jobs.urls")),
    path("", include("notifications.urls")),
]

handler400 = "sites.api.problems.bad_request"
handler403 = "sites.api.problems.not_allowed"
handler404 = "sites.api.problems.not_found"
handler500 = "sites.api.problems.server_error"
