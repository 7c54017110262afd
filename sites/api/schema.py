"""What the OpenAPI schema says of every route: its errors, and who may ask."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent

from ..export import MOST
from .streams import WHOLE

PROBLEM = {
    "type": "object",
    "description": "RFC 9457. A program reads `code`; a person reads `detail`.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "errors": {
            "type": "object",
            "description": "By field; with 422 alone.",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        },
    },
}
MEANING = {
    "400": "Malformed",
    "401": "Not authenticated",
    "403": "Visible, but not allowed",
    "404": "Not there, or not for you",
    "406": "In none of the forms that are on offer",
    "409": "In the wrong state",
    "413": "Too large",
    "415": "Of the wrong type",
    "416": "Another offset than the stored length, or a range behind the end",
    "422": "Understood, but not valid",
    "429": "Too many; see Retry-After",
    "500": "The portal failed",
    "503": "Not at the moment; see Retry-After",
}
WHOLE_TOLD = (
    "`csv` and `ndjson` (or the header `Accept`) send the whole list from `cursor` on, with the "
    f"same filters, sorts and rights, up to {MOST:,} rows: a last line then says where it goes on, "
    'in NDJSON as `{"next": address}`. One at a time for each person, and without `page_size`.'
)
_AGENT_TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "description": "An agent's token (`ym_agent_…`), from its enrolment. Reaches nothing else.",
}


class ProblemSchema(AutoSchema):
    """Adds the problem answers that a route can give, and the agents' token to their routes."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        operation = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        if getattr(self.view, "bare", False):
            self._tell_bare(operation)
        self._tell_whole(operation)
        problem = self._component("Problem", ResolvedComponent.SCHEMA, PROBLEM)
        for status in self._problems(operation):
            operation["responses"].setdefault(
                status,
                {
                    "description": MEANING[status],
                    "content": {"application/problem+json": {"schema": problem}},
                },
            )
        operation["responses"] = dict(sorted(operation["responses"].items()))
        return operation

    def map_renderers(self, attribute: str) -> list[Any]:
        """Name JSON alone as what an answer is made from; whole lists are told beside it."""
        found: list[Any] = super().map_renderers(attribute)
        whole = {getattr(form, attribute) for form in WHOLE}
        return found if attribute == "format" else [one for one in found if one not in whole]

    def _tell_bare(self, operation: dict[str, Any]) -> None:
        """Tell a page that is answered as an array, whose next one stands in a header."""
        told = operation["responses"]["200"]["content"]["application/json"]
        told["schema"] = self._rows_of(told["schema"])

    def _rows_of(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Give what a list's schema says of its rows: itself, or the results of a page."""
        if "$ref" not in schema:
            return schema
        page = self.registry[schema["$ref"].rpartition("/")[2], ResolvedComponent.SCHEMA]
        rows: dict[str, Any] = page.schema["properties"]["results"]
        return rows

    def _tell_whole(self, operation: dict[str, Any]) -> None:
        """Tell in which forms a list is sent as a whole, and what these take."""
        asked = [one for one in operation.get("parameters", []) if one["name"] == "format"]
        if not asked:
            return
        asked[0]["description"] = WHOLE_TOLD
        asked[0]["schema"]["default"] = "json"
        content = operation["responses"]["200"]["content"]
        shown = self._rows_of(content["application/json"]["schema"])
        content["text/csv"] = {"schema": {"type": "string"}}
        content["application/x-ndjson"] = {"schema": shown["items"]}

    def _problems(self, operation: dict[str, Any]) -> list[str]:
        found = ["400", "404", "422", "500", "503"]
        if operation.get("security") != []:
            found += ["401", "403"]
        if "text/csv" in operation["responses"].get("200", {}).get("content", {}):
            found.append("429")
        if self.method != "GET":
            found += ["409", "413", "415", "429"]
        elif "{" in self.path:
            # A snapshot that was purged is there and cannot be read.
            found.append("409")
        if {p["name"] for p in operation.get("parameters", [])} & {"offset"} or "log" in self.path:
            found.append("416")
        if "206" in operation["responses"]:
            found.append("416")
        if not getattr(self.view, "for_agents", False):
            found.append("406")
        return found

    def get_auth(self) -> list[dict[str, Any]]:
        if getattr(self.view, "for_agents", False):
            self._component("agentToken", ResolvedComponent.SECURITY_SCHEMA, _AGENT_TOKEN)
            return [{"agentToken": []}]
        return super().get_auth()

    def _component(self, name: str, kind: str, schema: dict[str, Any]) -> dict[str, Any]:
        component = ResolvedComponent(name=name, type=kind, object=name, schema=schema)
        self.registry.register_on_missing(component)
        return component.ref if kind == ResolvedComponent.SCHEMA else {}


class TokenScheme(OpenApiAuthenticationExtension):
    """A personal access token."""

    target_class = "sites.api.authentication.TokenAuthentication"
    name = "personalAccessToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A personal access token (`ym_user_…`), made on the page “Your "
            "profile”: acts as the person. Its scope is `full`, or `read`, which answers 403 to "
            "whatever would change something. It ends at its `expires_at`, where it has one, and "
            "when it is revoked: 401 from then on. Tokens are made and listed with a log-in alone.",
        }


class SessionScheme(OpenApiAuthenticationExtension):
    """The portal's own pages."""

    target_class = "sites.api.authentication.PortalSessionAuthentication"
    name = "portalSession"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": "sessionid",
            "description": "The portal's session; unsafe methods need its CSRF token.",
        }
