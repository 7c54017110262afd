#!/usr/bin/env python3
"""Enter the project's environment, then run one of its commands."""

# This file alone is read by whatever Python the machine has, so it keeps to what Python 2
# understands: an old one shall say one clear line, not "SyntaxError".
import os
import sys

if sys.version_info < (3, 11):
    sys.exit(
        "Yardmaster needs Python 3.11 or newer, and %s is Python %d.%d. Install a newer one "
        "and start again with it, for example: python3.11 manage.py %s"
        % (sys.executable, sys.version_info[0], sys.version_info[1], " ".join(sys.argv[1:]) or "up")
    )


def main():
    # type: () -> None
    """Run the command named by the first argument."""
    from config.bootstrap import enter_environment

    command = sys.argv[1] if len(sys.argv) > 1 else ""
    enter_environment("dev" if command in ("test", "lint", "bench", "soak") else "portal")

    settings = "config.settings.test" if command == "test" else "config.settings.dev"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings)
    from django.conf import settings as configured
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        _ = configured.INSTALLED_APPS
    except ImproperlyConfigured as error:
        sys.exit("A setting is wrong. %s" % error)
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
