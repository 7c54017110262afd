"""The admin of organizations, people, places and of what happened there."""

from django.contrib import admin

# Other apps' own pages know nothing of organizations.
for stock in list(admin.site._registry):
    if stock._meta.app_label in (
        *("auth", "account", "mfa", "socialaccount", "usersessions"),
        *("auditlog", "guardian"),
    ):
        admin.site.unregister(stock)

from . import credentials, organizations, places, records  # noqa: E402

__all__ = ["credentials", "organizations", "places", "records"]
