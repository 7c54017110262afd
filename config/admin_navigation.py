"""What the admin's side bar offers, to whom, and its colours: those of the portal."""

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse

# Group → model and its icon, in the order in which people look for them.
_GROUPS: dict[str, dict[str, str]] = {
    "Work": {
        "jobs.JobRun": "play_circle",
        "jobs.Job": "assignment",
        "jobs.Proposal": "rule",
        "jobs.Occurrence": "event_available",
        "jobs.SiteSchedule": "calendar_month",
        "jobs.StatusTransition": "timeline",
        "jobs.Claim": "front_hand",
        "jobs.LateReport": "running_with_errors",
    },
    "Places": {
        "sites.Site": "location_on",
        "sites.Target": "dns",
        "sites.Credential": "vpn_key",
        "sites.Snapshot": "photo_library",
    },
    "Agents": {
        "agents.Agent": "smart_toy",
        "agents.AgentPool": "workspaces",
        "agents.Function": "function",
        "agents.FunctionVersion": "deployed_code",
        "agents.Tool": "construction",
        "agents.Queue": "format_list_bulleted",
    },
    "What runs left": {
        "jobs.RunFile": "attach_file",
        "jobs.RunRecord": "table_rows",
        "jobs.RunLog": "notes",
    },
    "People": {
        "sites.Organization": "apartment",
        "sites.Membership": "badge",
        "sites.Invitation": "mail",
        "sites.Team": "groups",
        "sites.User": "person",
        "auth.Group": "group",
        "sites.AccessToken": "key",
    },
    "Notifications": {
        "notifications.Notification": "notifications",
        "notifications.Delivery": "outgoing_mail",
        "notifications.Subscription": "tune",
        "notifications.Channel": "unsubscribe",
    },
    "Records": {
        "sites.Event": "bolt",
        "auditlog.LogEntry": "history",
    },
}


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """List the models that the person may see, as their admins say, and the portal's health."""
    groups = []
    for title, models in _GROUPS.items():
        items = [
            {
                "title": str(model._meta.verbose_name_plural).capitalize(),
                "icon": icon,
                "link": reverse(
                    f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
                ),
            }
            for model, icon in ((apps.get_model(label), icon) for label, icon in models.items())
            if admin.site.get_model_admin(model).has_view_permission(request)
        ]
        if items:
            groups.append({"title": title, "separator": True, "collapsible": False, "items": items})
    about = {"title": "Health", "icon": "monitor_heart", "link": reverse("health")}
    groups.append(
        {"title": "The portal", "separator": True, "collapsible": False, "items": [about]}
    )
    return groups


def logo(request: HttpRequest) -> str:
    """Give the address of the portal's mark."""
    return static("logo.svg")


def colors(request: HttpRequest) -> dict[str, dict[str, str]]:
    """Give the portal's greys and its one accent, petrol, in the steps that Unfold asks for."""
    return {
        "base": {
            "50": "#f5f5f2",
            "100": "#edefec",
            "200": "#e4e5e0",
            "300": "#d2d4ce",
            "400": "#91a0a5",
            "500": "#5f6b6e",
            "600": "#495457",
            "700": "#36424a",
            "800": "#262f33",
            "900": "#13191c",
            "950": "#0e1315",
        },
        "primary": {
            "50": "#f1f8f9",
            "100": "#e4f1f3",
            "200": "#c3e1e7",
            "300": "#94cbd6",
            "400": "#62c3d6",
            "500": "#5bbfd3",
            "600": "#0b6175",
            "700": "#084c5c",
            "800": "#12303a",
            "900": "#0c2730",
            "950": "#04212a",
        },
        "font": {
            "subtle-light": "#5f6b6e",
            "subtle-dark": "#91a0a5",
            "default-light": "#495457",
            "default-dark": "#b3bec1",
            "important-light": "#182023",
            "important-dark": "#e5eaeb",
        },
    }
