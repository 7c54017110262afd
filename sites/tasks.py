"""What is done for people by itself."""

from celery import shared_task

from . import passwords


@shared_task
def send_password_links() -> int:
    """Mail the links for new passwords that were asked for."""
    return passwords.send_due_links()
