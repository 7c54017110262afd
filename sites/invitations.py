"""Who may join an organization by a link: asked by mail, once, for some days."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import get_random_string

from . import mail, tokens
from .access import set_role
from .holding import hold
from .members import add_member
from .models import Invitation, InvitedRole, Membership, Organization, Role, Site, User
from .problems import Refused

log = logging.getLogger(__name__)

KIND = "invitation"
# So many wait in an organization at most: each is a mail in its name.
MOST = 500
AGAIN_AFTER = timedelta(minutes=1)


def invite(
    organization: Organization,
    *,
    email: str,
    role: str,
    by: User,
    site_roles: Iterable[tuple[Site, str]] = (),
) -> Invitation:
    """Ask somebody to join. The mail is another step: see `send`.

    Whether there is an account with the address makes no difference. Refused 422 for a member, and
    where an invitation to the address is open.
    """
    email = email.strip().lower()
    site_roles = list(site_roles)
    if not email.isascii():
        # What mail servers take; lower case can be longer than what was written, too.
        raise _invalid("email", "Write the address in the letters a to z (a domain as xn--…).")
    if len({site.pk for site, _ in site_roles}) < len(site_roles):
        raise _invalid("sites", "Name each site once.")
    for site, _ in site_roles:
        if site.organization_id != organization.pk or site.archived_at is not None:
            raise _invalid("sites", f"“{site}” is no site of {organization} that is in use.")
    if Membership.objects.filter(organization=organization, user__email__iexact=email).exists():
        raise _invalid("email", f"{email} belongs to {organization} already.")
    if waiting(organization).count() >= MOST:
        raise Refused("too_many_invitations", f"{MOST} invitations are open; revoke some first.")
    invitation = Invitation(
        organization=organization,
        email=email,
        role=role,
        invited_by=by,
        expires_at=_end(),
    )
    try:
        with transaction.atomic():
            invitation.save()
            InvitedRole.objects.bulk_create(
                [InvitedRole(invitation=invitation, site=site, role=r) for site, r in site_roles]
            )
    except IntegrityError:
        words = f"{email} is invited already: send that invitation again, or revoke it first."
        raise _invalid("email", words) from None
    return invitation


def send(invitation: Invitation) -> None:
    """Send the mail with a fresh link, for its full time; an earlier link ends.

    Refused 409 once it was accepted or revoked, and within a minute of the last mail; 503 where the
    mail server does not take it: the invitation stays, to be sent again.
    """
    token, token_hash = tokens.make(KIND, invitation.public_id)
    with transaction.atomic():
        locked = _locked(invitation)
        if locked.sent_at is not None and timezone.now() - locked.sent_at < AGAIN_AFTER:
            words = f"{locked.email} was sent this mail less than a minute ago: wait for it first."
            raise Refused("too_soon", words)
        locked.token_hash, locked.expires_at, locked.sent_at = token_hash, _end(), None
        locked.save(update_fields=["token_hash", "expires_at", "sent_at"])
    inviter = mail.one_line(str(locked.invited_by or "Somebody"), 80)
    organization = mail.one_line(locked.organization.name, 80)
    context = {
        "inviter": inviter,
        "organization": organization,
        "role": locked.get_role_display().lower(),
        "link": settings.PUBLIC_URL + reverse("join", args=[token]),
        "expires_at": locked.expires_at,
    }
    try:
        mail.send(
            "invitation",
            to=locked.email,
            subject=f"{inviter} invites you to {organization}",
            context=context,
        )
    except OSError as error:
        log.warning("The mail server did not take an invitation: %s", error)
        raise Refused(
            "mail_failed",
            f"The mail to {locked.email} could not be sent. The invitation is kept: send it again"
            " once the portal's mail works.",
            status=503,
        ) from error
    Invitation.objects.filter(pk=locked.pk, token_hash=token_hash).update(sent_at=Now())
    invitation.refresh_from_db()


def revoke(invitation: Invitation) -> None:
    """End an invitation. Refused 409 once it was accepted; ending it again changes nothing."""
    with transaction.atomic():
        locked = Invitation.objects.select_for_update(of=("self",)).get(pk=invitation.pk)
        if locked.accepted_at is not None:
            raise Refused("accepted", f"{locked.email} has joined already.")
        if locked.revoked_at is None:
            locked.revoked_at = timezone.now()
            locked.save(update_fields=["revoked_at"])


def waiting(organization: Organization) -> QuerySet[Invitation]:
    """List the invitations that were neither accepted nor revoked, expired ones included."""
    return Invitation.objects.filter(organization=organization, accepted_at=None, revoked_at=None)


def found(token: str) -> Invitation | None:
    """Find the invitation of a link that works now; None for every other link alike."""
    public_id = tokens.public_id_in(KIND, token)
    if public_id is None:
        return None
    row = _working().filter(public_id=public_id).select_related("invited_by").first()
    return row if row is not None and tokens.matches(token, row.token_hash) else None


def was_taken_by(token: str, user: User) -> bool:
    """Say whether a link works no more because this person has joined with it."""
    public_id = tokens.public_id_in(KIND, token)
    if public_id is None:
        return False
    row = Invitation.objects.filter(public_id=public_id, accepted_by=user).first()
    return row is not None and tokens.matches(token, row.token_hash)


def join(token: str, user: User) -> Membership:
    """Let the person whom a link was sent to join with the account that they have.

    Refused 403 for an account with another address, and 409 for a link that works no more.
    """
    with transaction.atomic():
        invitation = _taken(token)
        if not invited(invitation, user):
            words = f"This invitation is for {invitation.email}, not for {user.email or user}."
            raise Refused("another_address", words, status=403)
        return _accept(invitation, user)


def invited(invitation: Invitation, user: User) -> bool:
    """Say whether an invitation was sent to the address of this account."""
    return bool(user.email) and user.email.lower() == invitation.email


def sign_up(token: str, *, first_name: str, last_name: str, password: str) -> User:
    """Make an account for the person whom a link was sent to, and let it join.

    Refused 422 by field for a password that is too weak; for an address that has an account, which
    only who reads its mail gets to know: they log in with it.
    """
    with transaction.atomic():
        invitation = _taken(token)
        # The name first: of two links to one address, who does not see the other's account has
        # chosen the name that the other has.
        name = free_name(invitation.email)
        if User.objects.filter(email__iexact=invitation.email).exists():
            raise _has_account()
        user = User(
            username=name,
            email=invitation.email,
            first_name=first_name,
            last_name=last_name,
        )
        try:
            validate_password(password, user)
        except ValidationError as error:
            raise Refused(
                "invalid",
                "Choose another password.",
                status=422,
                errors={"password": error.messages},
            ) from None
        user.set_password(password)
        try:
            with transaction.atomic():
                user.save()
        except IntegrityError:
            # Two invitations to one address at the same moment.
            raise _has_account() from None
        _accept(invitation, user)
    return user


def may_come(email: str) -> bool:
    """Say whether somebody without an account may come in by single sign-on with this address."""
    return bool(email) and (_for_all() is not None or _open_for(email).exists())


def admit(user: User) -> None:
    """Let a person who came in by single sign-on join where they were invited, and where all do.

    The provider has verified the address, as opening the mail would have done.
    """
    with transaction.atomic():
        held = list(_open_for(user.email).values_list("organization", flat=True))
        hold(*held)
        # One that comes meanwhile waits for the next log-in: its organization is not held.
        theirs = _open_for(user.email).filter(organization__in=held)
        for invitation in theirs.select_for_update(of=("self",)):
            _accept(invitation, user)
        organization = _for_all()
        if (
            organization is not None
            and not user.memberships.filter(organization=organization).exists()
        ):
            add_member(organization, user, Role.MEMBER)


def _open_for(email: str) -> QuerySet[Invitation]:
    return _working().filter(email=email.lower())


def _working() -> QuerySet[Invitation]:
    """List those that let somebody in: open, in time, and whose sender may still invite."""
    administers = Membership.objects.filter(
        organization=OuterRef("organization"), user=OuterRef("invited_by"), role=Role.ADMINISTRATOR
    )
    may_invite = Exists(administers) | Q(invited_by__is_superuser=True)
    waiting = Invitation.objects.filter(accepted_at=None, revoked_at=None)
    in_time = waiting.filter(expires_at__gt=timezone.now(), invited_by__is_active=True)
    return in_time.filter(may_invite).select_related("organization")


def _for_all() -> Organization | None:
    """Find the organization to which everyone belongs whom the provider knows, if there is one."""
    if not settings.OIDC_ORGANIZATION:
        return None
    found = Organization.objects.filter(name=settings.OIDC_ORGANIZATION).first()
    if found is None:
        log.error("There is no organization “%s” (OIDC_ORGANIZATION).", settings.OIDC_ORGANIZATION)
    return found


def _accept(invitation: Invitation, user: User) -> Membership:
    """Make the person a member with what the invitation gives. The caller holds its row."""
    # First, since who becomes a member is invited no more.
    invitation.accepted_at, invitation.accepted_by = timezone.now(), user
    invitation.save(update_fields=["accepted_at", "accepted_by"])
    membership = add_member(invitation.organization, user, invitation.role)
    for given in invitation.site_roles.select_related("site__organization"):
        if given.site.archived_at is None:
            set_role(user, given.role, on=given.site)
    return membership


def _taken(token: str) -> Invitation:
    """Lock the invitation of a link that works: of two who come with it, one joins."""
    invitation = found(token)
    if invitation is not None:
        hold(invitation.organization_id)
        # Read anew under the lock: the other one has accepted it, or its link was replaced.
        list(Invitation.objects.select_for_update(of=("self",)).filter(pk=invitation.pk))
        invitation = found(token)
    if invitation is None:
        raise Refused("link_over", "This link works no more: ask for another invitation.")
    return invitation


def _locked(invitation: Invitation) -> Invitation:
    """Lock an invitation that is open, or refuse."""
    rows = Invitation.objects.select_related("organization", "invited_by")
    locked = rows.select_for_update(of=("self",)).get(pk=invitation.pk)
    if locked.accepted_at is not None or locked.revoked_at is not None:
        raise Refused("not_open", f"The invitation of {locked.email} is over.")
    return locked


def free_name(email: str) -> str:
    """Give a user name: the address, which people remember, or one like it where it is taken."""
    name = email[:150]
    while User.objects.filter(username__iexact=name).exists():
        name = f"{email[:140]}-{get_random_string(6).lower()}"
    return name


def _has_account() -> Refused:
    words = "There is an account for this address: log in with it, and open the link again."
    return Refused("log_in", words, status=422)


def _end() -> datetime:
    return timezone.now() + timedelta(days=settings.INVITATION_DAYS)


def _invalid(field: str, words: str) -> Refused:
    return Refused("invalid", words, status=422, errors={field: [words]})
