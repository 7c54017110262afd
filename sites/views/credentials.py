"""The portal's pages about credentials: the list, one with its targets, adding and changing one,
putting one away; none of them ever shows a secret.
"""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count, OuterRef, Prefetch, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from .. import credentials
from ..forms.credentials import CredentialForm, PlacingForm
from ..models import Credential, Target
from ..pages import ON_PAGE, PortalRequest, add_refusal, once_typed, within_organization
from ..permissions import credential_policy, manages_somewhere, target_policy
from ..places import save_target, where_it_stands
from ..problems import Refused

# Of the targets on which a credential stands so many are named, in the list and before it is put
# away; the others are counted.
IN_LIST, BEFORE_ARCHIVING = 3, 5


def _credentials(request: PortalRequest) -> QuerySet[Credential]:
    """List those in use, without what is encrypted."""
    rows = Credential.objects.filter(organization=request.organization, archived_at=None)
    return rows.select_related("organization", "site", "changed_by").defer("sealed")


def _targets(request: PortalRequest) -> QuerySet[Target]:
    """List the targets of which the person may know what their runs are given."""
    rows = Target.objects.filter(organization=request.organization, archived_at=None)
    seen: QuerySet[Target] = target_policy.rows(request.user, "inspect", rows)
    return seen.select_related("site").order_by("name", "pk")


@within_organization
@require_GET
def credential_list(request: PortalRequest) -> HttpResponse:
    """List the credentials that the person may see, and the targets on which each one stands."""
    targets = _targets(request).defer("settings")
    there = targets.filter(credential=OuterRef("pk")).order_by().values("credential")
    number = Subquery(there.annotate(number=Count("pk")).values("number"))
    rows = credential_policy.rows(request.user, "view", _credentials(request)).order_by("name")
    rows = rows.annotate(others=Coalesce(number, 0) - IN_LIST).prefetch_related(
        Prefetch("targets", targets[:IN_LIST], to_attr="first_targets")
    )
    page = Paginator(rows, ON_PAGE).get_page(request.GET.get("page"))
    return render(
        request,
        "sites/credential_list.html",
        {
            "nav": "sites",
            "tab": "credentials",
            "page": page,
            "may_add": manages_somewhere(request.user, request.organization),
            "permitted": credential_policy.permitted(
                request.user, ["manage"], [one.pk for one in page]
            ),
        },
    )


@within_organization
@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def credential_add(request: PortalRequest) -> HttpResponse:
    """Store a new credential; which secret the form asks for is in the address, `?kind=key`."""
    if not manages_somewhere(request.user, request.organization):
        raise PermissionDenied(
            "Adding a credential needs the Maintainer role at its site, or an administrator."
        )
    kind = request.GET.get("kind", "")
    kind = kind if kind in Credential.Kind else Credential.Kind.PASSWORD
    credential = Credential(organization=request.organization, kind=kind)
    return _form(request, credential, adding=True)


@within_organization
@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def credential_edit(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Give a credential another name, or another secret in place of the one that is kept."""
    credential = credential_policy.get(
        request.user, "manage", _credentials(request), public_id=public_id
    )
    return _form(request, credential)


def _form(request: PortalRequest, credential: Credential, *, adding: bool = False) -> HttpResponse:
    form = CredentialForm(
        request.POST if request.method == "POST" else None,
        user=request.user,
        credential=credential,
        adding=adding,
    )
    if request.method == "POST" and form.is_valid():
        try:
            if adding:
                for name, value in form.said().items():
                    setattr(credential, name, value)
                credentials.add(credential, form.secret() or {}, by=request.user)
            elif form.has_changed():
                credential = credentials.change(
                    credential, by=request.user, secret=form.secret(), **form.said()
                )
        except Refused as refusal:
            add_refusal(form, refusal)
        else:
            if adding:
                words = f"Credential “{credential}” is stored. Put it on its targets."
                messages.info(request, words)
            elif form.has_changed():
                messages.info(request, f"Credential “{credential}” is changed.")
            return redirect("credential-detail", credential.public_id)
    return render(
        request,
        "sites/credential_form.html",
        {
            "nav": "sites",
            "form": form,
            "credential": credential,
            "kinds": Credential.Kind.choices,
            "adding": adding,
        },
        status=422 if form.errors else 200,
    )


@within_organization
@require_http_methods(["GET", "POST"])
def credential_detail(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Show what is known of a credential but its secret, and the targets on which it stands; put it
    on another one, whose runs are given it from then on.
    """
    posted = request.method == "POST"
    credential = credential_policy.get(
        request.user, "manage" if posted else "view", _credentials(request), public_id=public_id
    )
    permitted = credential_policy.permitted(request.user, ["manage"], [credential.pk])
    placing = None
    if may_manage := "manage" in permitted[credential.pk]:
        placing = PlacingForm(
            request.POST if posted else None,
            user=request.user,
            credential=credential,
            find=request.GET.get("find", "")[:120],
        )
        if posted:
            if placing.is_valid() and _placed(request, credential, placing):
                return redirect("credential-detail", credential.public_id)
            # What was refused is said below a list that may be long: the page opens there.
            placing.fields["target"].widget.attrs["autofocus"] = True
    on = _targets(request).filter(credential=credential)
    targets = Paginator(on, ON_PAGE).get_page(request.GET.get("page"))
    return render(
        request,
        "sites/credential_detail.html",
        {
            "nav": "sites",
            "credential": credential,
            "targets": targets,
            "stand": [(target, where_it_stands(target)) for target in targets],
            "may_manage": may_manage,
            "placing": placing,
            "permitted": target_policy.permitted(
                request.user, ["edit"], [target.pk for target in targets]
            ),
        },
        status=422 if placing and placing.errors else 200,
    )


def _placed(request: PortalRequest, credential: Credential, form: PlacingForm) -> bool:
    target, expected = form.cleaned_data["target"]
    try:
        save_target(target, expected=expected, credential=credential)
    except Refused as refusal:
        add_refusal(form, refusal)
        return False
    words = f"“{credential}” stands on {target} ({where_it_stands(target)}); its runs are given it."
    messages.info(request, words)
    return True


@within_organization
@require_POST
def credential_take_off(request: PortalRequest, public_id: UUID, target_id: UUID) -> HttpResponse:
    """Take a credential off a target; whoever edits the target may, as in the API."""
    credential = credential_policy.get(
        request.user, "view", _credentials(request), public_id=public_id
    )
    there = Target.objects.filter(credential=credential, archived_at=None)
    target = target_policy.get(request.user, "edit", there, public_id=target_id)
    try:
        save_target(target, expected={"credential_id": credential.pk}, credential=None)
    except Refused as refusal:
        messages.error(request, refusal.detail)
    else:
        messages.info(request, f"“{credential}” is off {target}; its runs get none.")
    # Who saw it by that target alone sees it no more.
    if credential_policy.allows(request.user, "view", credential):
        return redirect("credential-detail", credential.public_id)
    return redirect("credential-list")


@within_organization
@require_http_methods(["GET", "POST"])
def credential_archive(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Put a credential away that stands nowhere, once its name was typed."""
    credential = credential_policy.get(
        request.user, "manage", _credentials(request), public_id=public_id
    )
    refused = ""
    if request.method == "POST":
        refused = once_typed(request, credential.name, lambda: credentials.archive(credential))
        if not refused:
            messages.info(request, f"Credential “{credential}” is archived.")
            return redirect("credential-list")
    targets = _targets(request).filter(credential=credential).defer("settings")
    standing = targets.count()
    return render(
        request,
        "sites/credential_archive.html",
        {
            "nav": "sites",
            "credential": credential,
            "standing": standing,
            "targets": targets[:BEFORE_ARCHIVING],
            "others": standing - BEFORE_ARCHIVING,
            "refused": refused,
        },
        status=422 if refused else 200,
    )
