"""How a person's program asks the API: with their access token, in JSON."""

from __future__ import annotations

import json
from typing import Any

from django.test import Client

from sites.models import User
from tests.factories import access_token

ROOT = "/api/v1/"


def logged_in(user: User) -> API:
    """Ask as a person's browser does, with the session of their log-in instead of a token."""
    api = API()
    api.client.force_login(user)
    return api


class API:
    """`api.get("runs", mine="true")`, `api.post(f"jobs/{id}/run", {...})`; None is nobody."""

    def __init__(self, user: User | None = None, *, token: str = "") -> None:
        self.client = Client()
        self.token = token or (access_token(user) if user is not None else "")

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        kind: str = "application/json",
        query: dict[str, Any] | None = None,
        **headers: Any,
    ) -> Any:
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is None:
            data, kind = b"", "" if method in ("GET", "DELETE") else kind
        else:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        address = path if path.startswith("/") or "://" in path else ROOT + path
        return self.client.generic(
            method,
            address,
            data,
            content_type=kind,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            query_params=query,
        )

    def get(self, path: str, /, **query: Any) -> Any:
        return self.request("GET", path, query=query or None)

    def post(self, path: str, body: Any = None, **headers: Any) -> Any:
        return self.request("POST", path, body, **headers)

    def patch(self, path: str, body: Any) -> Any:
        return self.request("PATCH", path, body)

    def put(self, path: str, body: Any) -> Any:
        return self.request("PUT", path, body)

    def delete(self, path: str) -> Any:
        return self.request("DELETE", path)

    def upload(self, upload: object, offset: int, data: bytes) -> Any:
        return self.request(
            "PUT",
            f"uploads/{upload}",
            data,
            kind="application/octet-stream",
            query={"offset": offset},
        )
