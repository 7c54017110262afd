"""Every list of the API is sent as a whole too, and holds the same as its pages."""

from __future__ import annotations

import csv
import io
import json

from drf_spectacular.generators import SchemaGenerator

from tests.contract.conftest import World
from tests.contract.test_schema import THERE, kind
from tests.people import API, logged_in

# What a run was given is the starter's alone and leaves by no file.
PAGED_ONLY = {"/api/v1/runs/{id}/inputs"}


def test_every_list_is_told_and_sent_as_csv_and_as_lines(world: World) -> None:
    document = SchemaGenerator().get_schema(request=None, public=True)
    lists = {
        address: methods["get"]["responses"]["200"]["content"]
        for address, methods in document["paths"].items()
        if "cursor" in {one["name"] for one in methods.get("get", {}).get("parameters", ())}
    }
    assert len(lists) > 15
    told = {address for address, content in lists.items() if len(content) == 3}
    assert lists.keys() - told == PAGED_ONLY
    assert "inputs" not in json.dumps([lists[address] for address in told])
    edda = world.cast["edda"]
    filled = 0
    for address in sorted(told):
        # An access token lists no tokens.
        api = logged_in(edda) if address.endswith("/tokens") else API(edda)
        there = world.ids["converted" if "/runs/" in address else THERE.get(kind(address), "hall")]
        path = address.replace("{id}", there)
        shown = api.get(path).json()
        rows = shown if isinstance(shown, list) else shown["results"]
        lines = b"".join(api.get(path, format="ndjson")).decode().splitlines()
        assert [json.loads(line) for line in lines] == rows, address
        table = list(csv.reader(io.StringIO(b"".join(api.get(path, format="csv")).decode())))
        assert len(table) == 1 + len(rows), address
        filled += bool(rows)
    assert filled > 12
