"""The composition root: settings, addresses, and the commands that cross apps."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin


class ConfigConfig(AppConfig):
    name = "config"
    default = True

    def ready(self) -> None:
        from .audit import register

        register()


class PortalAdminConfig(admin.AdminConfig):
    """Django's admin, with our own site in the place of the default one."""

    default = False  # `config` alone means the app above

    default_site = "sites.access.admin_site.PortalAdminSite"
