"""No secret leaves in a log, however the text is cut."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yardmaster.agent.masking import MASK, Masker, secrets_of

pytestmark = pytest.mark.once


def masked(secrets: list[str], pieces: list[str]) -> str:
    masker = Masker(secrets)
    return "".join(masker.feed(piece) for piece in pieces) + masker.finish()


@pytest.mark.parametrize("cut", range(1, len("log in with hunter22 now")))
def test_a_secret_is_masked_wherever_the_text_is_cut(cut: int) -> None:
    text = "log in with hunter22 now"
    assert masked(["hunter22"], [text[:cut], text[cut:]]) == f"log in with {MASK} now"


def test_text_that_only_begins_like_a_secret_comes_through() -> None:
    assert masked(["hunter22"], ["hunt", "ers", " hun"]) == "hunters hun"


def test_the_longer_of_two_secrets_leaves_no_rest() -> None:
    assert masked(["abc", "abcdef"], ["abc", "def!"]) == f"{MASK}!"
    assert masked(["abc", "abcdef"], ["abc", "d!"]) == f"{MASK}d!"


def test_overlapping_secrets_are_masked_together() -> None:
    assert masked(["abcd", "cdef"], ["xab", "cde", "fx"]) == f"x{MASK}x"


def test_nothing_waits_for_ever_in_an_endless_repetition() -> None:
    masker = Masker(["aaa"])
    sent = [masker.feed("a" * 10) for _ in range(10)]
    assert "".join(sent) + masker.finish() == MASK


@given(
    st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3),
    st.text("abcd", max_size=24),
    st.lists(st.integers(0, 24), max_size=5),
)
def test_cutting_changes_nothing_and_no_secret_is_left(
    secrets: list[str], text: str, cuts: list[int]
) -> None:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges)]
    hidden = [False] * len(text)
    for secret in secrets:
        for start in range(len(text) - len(secret) + 1):
            if text.startswith(secret, start):
                hidden[start : start + len(secret)] = [True] * len(secret)
    expected = ""
    for index, letter in enumerate(text):
        if not hidden[index]:
            expected += letter
        elif index == 0 or not hidden[index - 1]:
            expected += MASK
    assert masked(secrets, pieces) == expected


SCHEMA: dict[str, Any] = {
    "properties": {
        "pin": {"type": "string", "secret": True},
        "host": {"type": "string"},
        "login": {"properties": {"key": {"secret": True}}},
        "many": {"items": {"properties": {"key": {"secret": True}}}},
    }
}


def test_secret_parameters_are_those_that_the_schema_marks() -> None:
    parameters = {
        "pin": "s3cret",
        "host": "plc-1",
        "login": {"key": "k-one", "user": "anna"},
        "many": [{"key": "k-two", "user": "otto"}],
        "unknown": "x",
    }
    found = secrets_of({}, parameters, SCHEMA, {})
    assert {"s3cret", "k-one", "k-two"} <= set(found)
    assert not {"plc-1", "anna", "otto", "x"} & set(found)


def test_parameters_of_a_function_that_is_not_here_are_secret_by_their_names() -> None:
    parameters = {"password": "hunter22", "folder": "/srv/plans"}
    assert set(secrets_of({}, parameters, None, {})) >= {"hunter22"}
    assert "/srv/plans" not in secrets_of({}, parameters, None, {})


def test_a_secret_is_found_in_the_spellings_that_programs_print() -> None:
    masker = Masker(secrets_of({"password": 'p"ä/ß', "pin": 12345, "port": 22}, {}, {}, {}))
    for text in ('p"ä/ß', r"p\"\u00e4/\u00df", "p%22%C3%A4%2F%C3%9F", "12345"):
        assert masker.whole(f"<{text}>") == f"<{MASK}>"
    assert masker.whole("port 22") == "port 22"


def test_each_line_of_a_private_key_is_secret() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\n-----END KEY-----"
    masker = Masker(secrets_of({"key": key}, {}, {}, {}))
    assert masker.whole("got MIIEvQIBADANBgkq here") == f"got {MASK} here"


def test_all_texts_of_a_result_are_masked() -> None:
    body = {"message": "no s3cret", "counts": {"total": 3}, "list": ["s3cret", 1]}
    whole = Masker(["s3cret"]).whole(body)
    assert whole == {"message": f"no {MASK}", "counts": {"total": 3}, "list": [MASK, 1]}
