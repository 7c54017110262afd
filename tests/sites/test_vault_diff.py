"""One file's lines: hunks, rows, marked words, and what a person chose to hide."""

import random

import pytest

from sites.vault.diff import Options, diff_texts
from sites.vault.lines import changed_blocks
from sites.vault.pattern import PatternRefused, matching

pytestmark = pytest.mark.once

OB1 = [
    "REGION Press",
    "  #ready := #guard AND #oil;",
    '  IF #force > "Press_Fmax" THEN',
    "    #valve := FALSE;",
    "  END_IF;",
    "END_REGION",
]


def text(lines):
    return "".join(f"{line}\n" for line in lines)


def drawn(diff):
    """Draw a diff as unified text, for the eye."""
    signs = {"context": " ", "added": "+", "removed": "-"}
    return [signs[line.kind] + line.text for hunk in diff.hunks for line in hunk.lines]


def marked(line):
    return [piece for piece, changed in line.segments if changed]


def test_the_picture_of_the_changes_page():
    """The diff of the design's own example, with folds, headings and marked words."""
    before = [f"// {n}" for n in range(1, 38)] + OB1 + ["", "REGION Limits"]
    before += [f"  // {n}" for n in range(70)] + [
        "  #limit := 165.0;",
        "END_REGION",
        "1",
        "2",
        "3",
        "4",
    ]
    after = list(before)
    after[39] = '  IF #force > "P1_ForceMax" THEN'
    after[41:41] = ["    #alarm := 16#2041;", '    "Log".Add(#alarm);']
    after[after.index("  #limit := 165.0;")] = "  #limit := 180.0;"
    diff = diff_texts(text(before), text(after), path="blocks/OB1.scl")
    assert (diff.added, diff.removed, diff.skipped, diff.cut) == (4, 2, 2, 0)
    first, second = diff.hunks
    assert (first.skipped, first.heading) == (36, "")
    assert second.heading == "REGION Limits"
    removed = next(line for line in first.lines if line.kind == "removed")
    added = next(line for line in first.lines if line.kind == "added")
    assert (removed.old_no, removed.new_no, marked(removed)) == (40, None, ["Press_Fmax"])
    assert (added.old_no, added.new_no, marked(added)) == (None, 40, ["P1_ForceMax"])
    sides = [(row.left and row.left.old_no, row.right and row.right.new_no) for row in first.rows]
    assert sides == [
        (37, 37), (38, 38), (39, 39), (40, 40), (41, 41), (None, 42), (None, 43),
        (42, 44), (43, 45), (44, 46),
    ]  # fmt: skip
    assert [marked(line) for line in second.lines if line.kind != "context"] == [["165"], ["180"]]


@pytest.mark.parametrize("seed", range(25))
def test_every_diff_rebuilds_both_texts(seed):
    numbers = random.Random(seed)
    before = [
        numbers.choice("abcdefgh") * numbers.randint(0, 3) for _ in range(numbers.randint(0, 60))
    ]
    after = list(before)
    for _ in range(numbers.randint(0, 12)):
        at = numbers.randint(0, len(after))
        after[at : at + numbers.randint(0, 3)] = [numbers.choice("abxyz") * 2] * numbers.randint(
            0, 3
        )
    diff = diff_texts(
        text(before), text(after), options=Options(context=numbers.choice([0, 3, 1000]))
    )
    olds, news = list(before), list(after)
    for hunk in diff.hunks:
        for line in hunk.lines:
            assert "".join(piece for piece, _ in line.segments) == line.text
            if line.old_no:
                assert olds[line.old_no - 1] == line.text
            if line.new_no:
                assert news[line.new_no - 1] == line.text
    removed = {line.old_no for hunk in diff.hunks for line in hunk.lines if line.kind == "removed"}
    added = {line.new_no for hunk in diff.hunks for line in hunk.lines if line.kind == "added"}
    assert (len(removed), len(added)) == (diff.removed, diff.added)
    assert [line for n, line in enumerate(before, 1) if n not in removed] == [
        line for n, line in enumerate(after, 1) if n not in added
    ]
    total = sum(hunk.skipped for hunk in diff.hunks) + diff.skipped
    total += sum(line.old_no is not None for hunk in diff.hunks for line in hunk.lines)
    assert total == len(before)


def test_blocks_are_those_of_git():
    assert changed_blocks(["a", "b", "c"], ["a", "B", "c", "d"]) == [(1, 2, 1, 2), (3, 3, 3, 4)]
    assert changed_blocks([], ["a"]) == [(0, 0, 0, 1)]
    assert changed_blocks(["a", "b"], []) == [(0, 2, 0, 0)]
    assert changed_blocks(["x", "a"], ["a"]) == [(0, 1, 0, 0)]
    assert changed_blocks(["\0", "b"], ["\0", "c"]) == [(1, 2, 1, 2)]


def test_lines_of_a_block_meet_their_likes():
    diff = diff_texts(
        text(["value one = 1", "value two = 2"]),
        text(["something else entirely", "value one = 10", "value two = 20"]),
    )
    assert [(r.left and r.left.text, r.right and r.right.text) for r in diff.hunks[0].rows] == [
        (None, "something else entirely"),
        ("value one = 1", "value one = 10"),
        ("value two = 2", "value two = 20"),
    ]
    assert [line[0] for line in drawn(diff)] == ["-", "-", "+", "+", "+"]


def test_words_are_not_marked_where_nothing_is_alike():
    diff = diff_texts("alpha beta\n", "1234567890 987654321\n")
    assert [marked(line) for line in diff.hunks[0].lines] == [[], []]


def test_white_space_is_hidden_and_counted():
    before = text(["a", "if x:", "  y()", "", "end z"])
    after = text(["a", "if  x:", "\ty()", "end z", "", ""])
    shown = diff_texts(before, after)
    assert shown.hidden == {}
    hidden = diff_texts(before, after, options=Options(hide_whitespace=True))
    assert (hidden.added, hidden.removed, hidden.hunks) == (0, 0, [])
    assert hidden.all_hidden
    # Two changed lines count on both sides; one empty line went, two came.
    assert hidden.hidden == {"whitespace": 7}
    mixed = diff_texts(before, after + "new\n", options=Options(hide_whitespace=True))
    assert (mixed.added, mixed.removed, mixed.all_hidden) == (1, 0, False)


def test_a_hidden_difference_in_a_context_line_shows_both_sides():
    diff = diff_texts("  a\nb\n", "a\nc\n", options=Options(hide_whitespace=True))
    context = diff.hunks[0].lines[0]
    assert (context.kind, context.old_text, context.text) == ("context", "  a", "a")
    assert diff.hidden == {"whitespace": 2}


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("a.scl", "x := 1; // old\n", "x := 1; // new\n"),
        ("a.scl", "(* one *) x := 1;\n", "(* two\n three *) x := 1;\n"),
        ("a.c", "/* a\n b\n c */\nint x;\n", "int x;\n"),
        ("a.py", "x = 1  # old\n", "x = 1\n"),
        ("a.py", "# gone\nx = 1\n", "x = 1\n"),
        ("a.ini", "; old\n[a]\n", "; new\n[a]\n"),
        ("a.xml", "<a><!-- v1 --></a>\n", "<a><!-- v2 --></a>\n"),
        ("a.sql", "select 1 -- a\n", "select 1 -- b\n"),
        ("Makefile", "all: # a\n", "all: # b\n"),
    ],
)
def test_comments_are_hidden_and_counted(path, before, after):
    options = Options(hide_comments=True)
    diff = diff_texts(before, after, path=path, options=options)
    assert diff.all_hidden, drawn(diff)
    assert diff.hidden["comments"] > 0
    assert not diff_texts(before, after, path=path).all_hidden


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("a.c", 'u = "http://a";\n', 'u = "http://b";\n'),
        ("a.py", "x = '#1'\n", "x = '#2'\n"),
        ("a.c", 'u = "\\"//a";\n', 'u = "\\"//b";\n'),
        ("a.unknown", "# a\n", "# b\n"),
        ("a.c", "/* a */ x\n", "/* a */ y\n"),
    ],
)
def test_what_only_looks_like_a_comment_is_shown(path, before, after):
    diff = diff_texts(before, after, path=path, options=Options(hide_comments=True))
    assert (diff.added, diff.removed) == (1, 1)


def test_lines_that_match_a_pattern_are_hidden_and_counted():
    before, after = "saved 10:00\nx\ny\n", "saved 11:00\nx\nz\nsaved twice\n"
    diff = diff_texts(before, after, options=Options(hide_pattern=r"^saved( \d+:\d+)?"))
    assert [line for line in drawn(diff) if line[0] != " "] == ["-y", "+z"]
    assert diff.hidden == {"pattern": 3}
    only = diff_texts("saved 1\n", "saved 2\n", options=Options(hide_pattern="saved"))
    assert only.all_hidden


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", "(?P<x", "[", "*", "(" * 150, "x" * 201])
def test_a_bad_pattern_is_refused_with_a_sentence(pattern):
    with pytest.raises(PatternRefused) as refused:
        diff_texts("a\n", "b\n", options=Options(hide_pattern=pattern))
    assert refused.value.code == "invalid_pattern"


def test_a_pattern_that_runs_away_is_stopped():
    with pytest.raises(PatternRefused, match="too long"):
        matching(r"(a+)+$", ["a" * 60 + "!"])


def test_a_pattern_sees_every_line_of_a_large_text():
    lines = [f"line {n}" for n in range(100_000)]
    assert matching(r"^line \d*77$", lines) == {n for n in range(100_000) if n % 100 == 77}
    assert matching("line 99999", lines) == {99_999}


def test_escapes_and_odd_characters_cannot_act():
    diff = diff_texts("a\x1b[31m\n", "b\u202e\x00\x9b\ud800\n")
    assert drawn(diff) == ["-a␛[31m", "+b⟨U+202E⟩␀⟨U+009B⟩⟨U+D800⟩"]


def test_line_ends():
    assert diff_texts("a\r\nb\r\n", "a\r\nb\r\n").hunks == []
    windows = diff_texts("a\r\nb\r\n", "a\r\nc\r\n")
    assert drawn(windows) == [" a", "-b", "+c"]
    mixed = diff_texts("a\r\n", "a\n")
    assert drawn(mixed) == ["-a␍", "+a"]
    assert diff_texts("a", "a\n").line_end == "added"
    assert diff_texts("a\n", "a").line_end == "removed"
    assert diff_texts("", "a\n").line_end is None


def test_a_long_diff_and_a_long_line_are_cut_and_say_so():
    before, after = text(f"o{n}" for n in range(900)), text(f"n{n}" for n in range(900))
    diff = diff_texts(before, after, options=Options(max_lines=100))
    shown = sum(len(hunk.lines) for hunk in diff.hunks)
    assert (diff.added, diff.removed) == (900, 900)
    assert shown <= 200
    assert diff.cut == 1800 - shown
    long = diff_texts("", "x" * 5_000 + "\n")
    assert long.hunks[0].lines[0].text.endswith("… (3000 more characters)")


def test_a_long_text_of_shuffled_lines_is_compared_and_cut():
    numbers = random.Random(1)
    lines = [str(numbers.randint(0, 9999)) for _ in range(20_000)]
    before = text(lines)
    numbers.shuffle(lines)
    diff = diff_texts(before, text(lines))
    assert diff.cut > 0
    assert sum(len(hunk.lines) for hunk in diff.hunks) < 20_000
