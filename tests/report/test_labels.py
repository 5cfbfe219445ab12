from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.report.labels import AIR, NEAR, RINGS, Layout, around, crosses, overlap

FRAME = (0.0, 0.0, 1000.0, 1000.0)
UNIT = (0.0, 0.0, 10.0, 10.0)
HALF = (30.0, 6.0)
POINTS = st.lists(st.tuples(st.integers(150, 850), st.integers(150, 850)), max_size=10, unique=True)


def layout(*marks: tuple[float, float], frame=FRAME) -> Layout:
    return Layout(frame, 1.0, [around(mark, (0, 0), 4) for mark in marks])


def middle(box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def test_a_box_has_air_around_it() -> None:
    assert around((5, 7), (2, 1), 0.5) == (2.5, 5.5, 7.5, 8.5)


@pytest.mark.parametrize(
    ("other", "shared"),
    [((9, 9, 20, 20), True), ((10, 0, 20, 10), False), ((2, 2, 3, 3), True),
     ((0, 11, 10, 12), False), (UNIT, True), ((-5, 4, 15, 6), True)],
)  # fmt: skip
def test_boxes_overlap_that_share_more_than_an_edge(other, shared) -> None:
    assert overlap(UNIT, other) is shared
    assert overlap(other, UNIT) is shared


@pytest.mark.parametrize(
    ("line", "through"),
    [
        (((-5, 5), (15, 5)), True), (((5, -5), (5, 15)), True), (((-5, -5), (15, 15)), True),
        (((-5, 5), (-1, 5)), False), (((11, 5), (15, 5)), False), (((-5, 11), (15, 11)), False),
        (((-5, 5), (5, 16)), False), (((3, 3), (4, 4)), True), (((5, 5), (5, 5)), True),
        (((12, 12), (12, 12)), False), (((-5, 6), (5, 15)), False), (((-8, 0), (2, 14)), False),
        (((-1, 0), (6, 14)), True), (((-5, 0), (15, 0)), False),
    ],
)  # fmt: skip
def test_a_line_passes_through_a_box(line, through) -> None:
    assert crosses(line, UNIT) is through
    assert crosses((line[1], line[0]), UNIT) is through


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.integers(-20, 30)] * 4))
def test_a_line_passes_through_a_box_if_one_of_its_points_lies_inside(ends) -> None:
    x, y, to_x, to_y = ends
    steps = [n / 1000 for n in range(1001)]
    inside = any(
        0 < x + t * (to_x - x) < 10 and 0 < y + t * (to_y - y) < 10 for t in steps
    )  # fmt: skip
    if inside:
        assert crosses(((x, y), (to_x, to_y)), UNIT)


def test_the_first_name_stands_to_the_right_of_its_mark() -> None:
    box, line = layout((500, 500)).place((500, 500), HALF)
    assert middle(box) == pytest.approx((500 + HALF[0] + RINGS[0], 500))
    assert box[2] - box[0] == 2 * (HALF[0] + AIR)
    assert line is None


def test_at_the_edge_it_stands_to_the_left() -> None:
    box, _ = layout((990, 500)).place((990, 500), HALF)
    assert middle(box) == pytest.approx((990 - HALF[0] - RINGS[0], 500))


def test_between_two_marks_it_stands_above() -> None:
    marks = ((500, 500), (540, 500), (460, 500))
    box, _ = layout(*marks).place((500, 500), (20, 6))
    assert middle(box) == pytest.approx((500, 500 + 6 + RINGS[0]))


def test_a_name_that_stands_off_has_a_line_to_its_mark() -> None:
    made = layout((500, 500))
    made.names.append((440, 480, 560, 520))
    box, line = made.place((500, 500), HALF)
    assert not overlap(box, made.names[0])
    assert line is not None
    start, end = line
    assert start == (500, 500)
    assert box[0] <= end[0] <= box[2]
    assert box[1] <= end[1] <= box[3]
    assert max(abs(end[0] - 500), abs(end[1] - 500)) > NEAR / 2
    assert made.lines == [line]


def test_no_name_covers_the_line_of_another() -> None:
    made = layout((500, 500))
    made.lines.append(((500, 500), (700, 500)))
    box, _ = made.place((500, 500), HALF)
    assert not crosses(made.lines[0], box)


def test_a_line_goes_around_other_names_if_it_can() -> None:
    made = layout((500, 500))
    right, left, top = (512, 400, 516, 600), (484, 400, 488, 600), (484, 512, 516, 516)
    made.names += [right, left, top]
    box, line = made.place((500, 500), HALF)
    assert middle(box) == pytest.approx((500, 500 - 6 - 116))  # 22 to the right is free too
    assert line == ((500, 500), (500, box[3]))


def test_a_line_passes_others_if_it_has_to() -> None:
    made = layout((500, 500))
    right, left = (512, 400, 516, 600), (484, 400, 488, 600)
    made.names += [right, left, (484, 512, 516, 516), (484, 484, 516, 488)]
    box, line = made.place((500, 500), HALF)
    assert middle(box) == pytest.approx((500 + 30 + 22, 500))
    assert line is not None
    assert crosses(line, right)


def test_where_nothing_is_free_the_name_stands_to_the_right_all_the_same() -> None:
    made = layout((5, 5), frame=(0, 0, 10, 10))
    box, line = made.place((5, 5), HALF)
    assert middle(box) == pytest.approx((5 + HALF[0] + RINGS[0], 5))
    assert line is None


@settings(max_examples=50, deadline=None)
@given(POINTS)
def test_few_names_never_cover_names_or_marks_and_stay_in_the_frame(points) -> None:
    made = layout(*points)
    boxes = [made.place(point, HALF)[0] for point in points]
    for one, other in combinations(boxes, 2):
        assert not overlap(one, other)
    for box in boxes:
        assert not any(overlap(box, mark) for mark in made.marks)
        assert box[0] >= 0
        assert box[1] >= 0
        assert max(box[2:]) <= 1000
