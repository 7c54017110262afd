"""Addresses of the portal's pages about places and people, and of what stands around every page."""

from django.urls import path

from .views import credentials, frame, invitations, members, places, profile, teams

urlpatterns = [
    path("favicon.ico", frame.favicon, name="favicon"),
    path("theme", frame.theme, name="theme"),
    path("organization", frame.organization, name="organization"),
    path("profile", profile.profile, name="profile"),
    path("profile/sessions/end", profile.sessions_end, name="sessions-end"),
    path("profile/tokens/<uuid:public_id>/revoke", profile.token_revoke, name="token-revoke"),
    path("sites", places.site_list, name="site-list"),
    path("sites/<uuid:public_id>/pause", places.site_pause, name="site-pause"),
    path("sites/<uuid:public_id>/resume", places.site_resume, name="site-resume"),
    path("sites/credentials", credentials.credential_list, name="credential-list"),
    path("sites/credentials/add", credentials.credential_add, name="credential-add"),
    path(
        "sites/credentials/<uuid:public_id>",
        credentials.credential_detail,
        name="credential-detail",
    ),
    path(
        "sites/credentials/<uuid:public_id>/edit",
        credentials.credential_edit,
        name="credential-edit",
    ),
    path(
        "sites/credentials/<uuid:public_id>/archive",
        credentials.credential_archive,
        name="credential-archive",
    ),
    path(
        "sites/credentials/<uuid:public_id>/targets/<uuid:target_id>/remove",
        credentials.credential_take_off,
        name="credential-take-off",
    ),
    path("members", members.member_list, name="member-list"),
    path("members/invitations", invitations.invitation_list, name="invitation-list"),
    path("members/invitations/add", invitations.invitation_add, name="invitation-add"),
    path(
        "members/invitations/<uuid:public_id>/send",
        invitations.invitation_send,
        name="invitation-send",
    ),
    path(
        "members/invitations/<uuid:public_id>/revoke",
        invitations.invitation_revoke,
        name="invitation-revoke",
    ),
    path("members/teams", teams.team_list, name="team-list"),
    path("members/teams/<uuid:public_id>", teams.team_detail, name="team-detail"),
    path("members/teams/<uuid:public_id>/members", teams.team_join, name="team-join"),
    path(
        "members/teams/<uuid:public_id>/members/<uuid:member_id>/remove",
        teams.team_leave,
        name="team-leave",
    ),
    path("members/teams/<uuid:public_id>/roles", teams.team_role, name="team-role"),
    path("members/teams/<uuid:public_id>/delete", teams.team_delete, name="team-delete"),
    path("join/<str:token>", invitations.join, name="join"),
    path("members/<uuid:public_id>", members.member_detail, name="member-detail"),
    path("members/<uuid:public_id>/remove", members.member_remove, name="member-remove"),
]
