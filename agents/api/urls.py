"""Addresses under /api/v1/agent/ at which a program becomes an agent."""

from django.urls import path

from .agent import Enroll, Hello, Token

urlpatterns = [
    path("enroll", Enroll.as_view(), name="agent-enroll"),
    path("hello", Hello.as_view(), name="agent-hello"),
    path("token", Token.as_view(), name="agent-token"),
]
