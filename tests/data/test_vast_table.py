"""Tables of segments: exact round trips, the order of the columns, what is refused; and the tree in them."""

import numpy as np
import pytest
from faults.disk import failing_steps
from faults.sentences import refused
from hypothesis import given, settings
from hypothesis import strategies as st

from emlib.data import (
    VastSegment,
    anchors_of,
    collapse_labels,
    collapsed_ids,
    read_vast_table,
    segment_table,
    write_vast_table,
)

WHOLE = st.integers(-(2**31), 2**31)
POINT = st.tuples(WHOLE, WHOLE, WHOLE)
COLOR = st.tuples(*[st.integers(0, 255)] * 3)
NAME = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\n"), max_size=12)
SEGMENT = st.builds(
    VastSegment, id=st.integers(0, 2**24 - 1), name=NAME, flags=WHOLE, color=COLOR, pattern=WHOLE, second_color=COLOR,
    second_pattern=WHOLE, anchor=POINT, parent=WHOLE, child=WHOLE, previous=WHOLE, next=WHOLE, collapsed=WHOLE,
    first=POINT, last=POINT,
)  # fmt: skip
SAMPLE = """% VAST Segmentation file
% a comment

0   0   0 0 0 0   0 0 0 0   -1 -1 -1   0 1 0 0 0   -1 -1 -1 -1 -1 -1   "Background"
1\t256\t200\t10\t20\t3\t100\t5\t6\t4\t30\t20\t9\t0\t2\t0\t7\t1\t10\t11\t12\t40\t41\t42\t"axon "main" 1"
"""


@given(segments=st.lists(SEGMENT, min_size=1, max_size=5, unique_by=lambda one: one.id))
@settings(max_examples=40)
def test_tables_come_back(segments, tmp_path_factory):
    path = write_vast_table(tmp_path_factory.mktemp("t") / "table.txt", segments)
    assert read_vast_table(path) == segments


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_tabs_spaces_and_the_order_of_the_columns(tmp_path, ends):
    file = tmp_path / "table.txt"
    file.write_bytes(b"\xef\xbb\xbf" + SAMPLE.replace("\n", ends).encode())
    background, axon = read_vast_table(file)
    assert (background.id, background.child, background.first) == (0, 1, (-1, -1, -1))
    assert axon == VastSegment(
        id=1, name='axon "main" 1', flags=256, color=(200, 10, 20), pattern=3, second_color=(100, 5, 6),
        second_pattern=4, anchor=(9, 20, 30), parent=0, child=2, previous=0, next=7, collapsed=1, first=(12, 11, 10),
        last=(42, 41, 40),
    )  # fmt: skip


def test_names_in_another_encoding(tmp_path):
    file = tmp_path / "table.txt"
    file.write_bytes(SAMPLE.replace("axon", "Körper").encode("cp1252"))
    with refused(ValueError, "is not written in utf-8", "cp1252"):
        read_vast_table(file)
    assert read_vast_table(file, encoding="cp1252")[1].name == 'Körper "main" 1'
    with refused(ValueError, "no encoding 'utf-9'"):
        read_vast_table(file, encoding="utf-9")


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("\t42\t", "\t", "line 5: 24 numbers and a name were expected, got 23 numbers"),
        ("\t42\t", "\t42\t43\t", "line 5: 24 numbers and a name were expected, got 25 numbers"),
        ("256", "2.5", "line 5: whole numbers and a name in double quotes were expected, got '1\\t2.5"),
        ('"axon "main" 1"', "axon", "line 5: whole numbers and a name in double quotes"),
        ("200", "256", "line 5: the colour (256, 10, 20) does not lie in 0 to 255"),
        ("1\t256", "-1\t256", "line 5: the id -1 is negative"),
        ("1\t256", "0\t256", "line 5: the segment 0 stands in the table twice"),
    ],
)
def test_lines_that_are_refused(tmp_path, old, new, words):
    file = tmp_path / "table.txt"
    file.write_text(SAMPLE.replace(old, new, 1))
    with refused(ValueError, "table.txt", words):
        read_vast_table(file)


def test_tables_that_are_refused(tmp_path):
    with refused(FileNotFoundError, "no table of segments"):
        read_vast_table(tmp_path / "none.txt")
    (tmp_path / "a.txt").write_text("% nothing\n")
    with refused(ValueError, "a.txt holds no segments"):
        read_vast_table(tmp_path / "a.txt")
    for segments, words in (
        ([VastSegment(1), VastSegment(1)], "The id 1 stands twice"),
        ([VastSegment(2**24)], "The id 16777216 does not fit"),
        ([VastSegment(1, "a\nb")], "has a line break"),
        ([VastSegment(1, color=(0, 0, 300))], "Segment 1: the colour"),
    ):
        with refused(ValueError, words, folder=tmp_path):
            write_vast_table(tmp_path / "b.txt", segments)


def test_every_step_may_fail(tmp_path):
    def action(folder, segments):
        write_vast_table(folder / "table.txt", segments)

    old, new = [VastSegment(1, "old")], [VastSegment(2, "new")]
    action(tmp_path, old)
    for folder in failing_steps(action, lambda _: tmp_path, new, 1):
        assert read_vast_table(folder / "table.txt") in (old, new)
        assert [path.name for path in folder.iterdir()] == ["table.txt"]


def test_a_table_of_objects(tmp_path):
    labels = np.zeros((3, 8, 9), np.uint64)
    labels[1, 2:7, 3:8], labels[1, 4, 5], labels[0, 0, 0] = 9, 0, 4
    found = anchors_of(labels)
    table = segment_table(found.ids, found.boxes, found.anchors, names=["dot", "ring"])
    assert read_vast_table(write_vast_table(tmp_path / "t.txt", table)) == table
    background, dot, ring = table
    assert (background.child, dot.next, ring.previous, ring.next) == (4, 9, 4, 0)
    assert (ring.first, ring.last) == ((1, 2, 3), (1, 6, 7))
    assert labels[ring.anchor] == 9
    assert dot.color != ring.color
    assert collapsed_ids(table) == collapsed_ids(table, rule="collapsed") == {0: 0, 4: 4, 9: 9}
    with refused(ValueError, "2 ids, 2 boxes, 2 anchors and 1 names"):
        segment_table(found.ids, found.boxes, found.anchors, names=["dot"])
    assert [one.id for one in segment_table([], [], [])] == [0]


def top_of(parents, number, keep, folders):
    """The slow way up."""
    while parents[number] and number not in keep and parents[number] not in folders:
        number = parents[number]
    return number


@given(st.data(), st.integers(1, 12))
def test_children_become_their_parents_by_brute_force(data, count):
    # Parents of shuffled ids, without circles: each has a parent drawn before it.
    order = data.draw(st.permutations(range(1, count + 1)))
    parents = {one: data.draw(st.sampled_from([0, *order[:place]])) for place, one in enumerate(order)}
    named = st.sets(st.sampled_from(order), max_size=3)
    keep, folders = data.draw(named), data.draw(named)
    segments = [VastSegment(one, parent=parents[one]) for one in data.draw(st.permutations(order))]
    expected = {one: top_of(parents, one, keep, folders) for one in order}
    assert collapsed_ids(segments, keep=keep, folders=folders) == {0: 0} | expected
    labels = np.array(data.draw(st.lists(st.sampled_from([0, *order]), min_size=1, max_size=20)), np.uint8)
    merged = collapse_labels(labels.reshape(1, -1), segments, keep=keep, folders=folders)
    assert merged.dtype == np.uint8
    assert merged.tolist() == [[({0: 0} | expected)[one] for one in labels.tolist()]]


def test_a_long_chain_and_what_vast_showed():
    chain = [VastSegment(one, parent=one - 1, collapsed=max(1, one - 2)) for one in range(5000, 0, -1)]
    assert set(collapsed_ids(chain).values()) == {0, 1}
    assert collapsed_ids(chain, rule="collapsed")[4000] == 3998
    assert collapse_labels(np.array([2**40], np.uint64) * 0 + 7, chain).tolist() == [1]


@pytest.mark.parametrize(
    "segments, options, words",
    [
        ([VastSegment(1, parent=2), VastSegment(2, parent=1)], {}, "The parents of segment 1 go round in a circle"),
        ([VastSegment(1, parent=1)], {}, "go round in a circle"),
        ([VastSegment(1, parent=3)], {}, "Segment 1 is the child of 3, which the table lacks"),
        ([VastSegment(1, collapsed=3)], {"rule": "collapsed"}, "Segment 1 is shown as 3, which the table lacks"),
        ([VastSegment(1)], {"rule": "bottom"}, "rule is 'bottom'"),
        ([VastSegment(1)], {"keep": [2]}, "no segment 2"),
        ([VastSegment(1)], {"folders": [2]}, "no segment 2"),
    ],
)
def test_trees_that_are_refused(segments, options, words):
    with refused(ValueError, words):
        collapsed_ids(segments, **options)


def test_labels_that_are_refused():
    with refused(ValueError, "hold the id 2, which the table of segments lacks"):
        collapse_labels(np.array([2]), [VastSegment(1)])
    with refused(ValueError, "The id 300 does not fit into the labels' type uint8"):
        collapse_labels(np.array([1], np.uint8), [VastSegment(1, parent=300), VastSegment(300)])
    with refused(TypeError, "labels are float64"):
        collapse_labels(np.array([1.0]), [VastSegment(1)])
