"""Which paths a glob names."""

import pytest

from yardmaster.tools.patterns import BadPattern, compile_patterns

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("pattern", "named", "not_named"),
    [
        ("*.st", ["a.st", "x/a.st", "x/y/.st"], ["a.stx", "st", "a.st.bak"]),
        ("cache", ["cache", "x/cache", "cache/a/b"], ["caches", "x/mycache"]),
        ("cache/", ["cache", "cache/a"], ["x/mycache"]),
        ("/top", ["top", "top/a"], ["x/top"]),
        ("plc/*.xml", ["plc/a.xml"], ["x/plc/a.xml", "plc/sub/a.xml", "plc/a.xmlx"]),
        ("plc/**/*.xml", ["plc/a.xml", "plc/x/y/a.xml"], ["a.xml", "plcx/a.xml"]),
        ("**/log", ["log", "a/log", "a/b/log/c"], ["alog"]),
        ("logs/**", ["logs/a", "logs/a/b"], ["logs", "xlogs/a"]),
        ("a?c", ["abc", "x/a.c"], ["ac", "a/c", "abbc"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "-x"]),
        ("[!a-c]x", ["dx"], ["ax", "y/x/x"]),
        ("[]^]x", ["]x", "^x"], ["ax"]),
        ("[x", ["[x"], ["x"]),
        ("a.b+(c)", ["a.b+(c)"], ["aXb+(c)", "a.bb(c)"]),
        ("new\nline", ["new\nline"], []),
    ],
)
def test_globs(pattern: str, named: list[str], not_named: list[str]) -> None:
    expression = compile_patterns([pattern])
    assert [path for path in named if not expression.fullmatch(path)] == []
    assert [path for path in not_named if expression.fullmatch(path)] == []


def test_a_list_names_what_any_of_it_names() -> None:
    expression = compile_patterns(["*.a", "b"])
    assert expression.fullmatch("x.a")
    assert expression.fullmatch("b/x")
    assert not compile_patterns([]).fullmatch("")


@pytest.mark.parametrize("pattern", ["", " ", "/", "../x", "a/../b"])
def test_patterns_that_mean_nothing_are_refused(pattern: str) -> None:
    with pytest.raises(BadPattern, match="The pattern"):
        compile_patterns([pattern])
