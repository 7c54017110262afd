"""Organizations, sites, targets, files, the vault and access: what exists without any job."""

from django.apps import AppConfig


class SitesConfig(AppConfig):
    name = "sites"
