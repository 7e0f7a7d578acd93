"""Deadlines and the calendar alone, on a loop whose time the test moves."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.gateway.deadlines import Calendar, Deadlines
from tests.unit.gateway.fakes import Loop


class Due:
    """Remembers what fell due, when, and with which time."""

    def __init__(self, delay_s: float = 10.0) -> None:
        self.loop = Loop()
        self.seen: list[tuple[str, float]] = []
        self.told: list[float] = []
        self.deadlines = Deadlines[str](delay_s, self.take, self.loop.asyncio)

    def take(self, item: str, at_s: float) -> None:
        self.seen.append((item, self.loop.now_s))
        self.told.append(at_s)


def test_each_item_falls_due_after_the_delay_in_the_order_in_which_it_came() -> None:
    due = Due()
    due.deadlines.add("a")
    due.loop.advance(4)
    due.deadlines.add("b")
    due.deadlines.add("c")
    due.loop.advance(5.9)
    assert due.seen == []
    due.loop.advance(20)
    assert due.seen == [("a", 110.0), ("b", 114.0), ("c", 114.0)]


def test_the_time_that_add_returns_is_the_one_that_is_told() -> None:
    due = Due()
    returned = [due.deadlines.add("a")]
    due.loop.advance(3)
    returned.append(due.deadlines.add("b"))
    due.loop.advance(60)
    assert due.told == returned == [110.0, 113.0]


def test_a_thousand_items_cost_one_timer_and_none_when_all_are_due() -> None:
    due = Due()
    for number in range(1000):
        due.deadlines.add(str(number))
        due.loop.advance(0.001)
    assert due.loop.timers == 1
    due.loop.advance(20)
    assert len(due.seen) == 1000
    assert due.loop.timers == 0


def test_an_item_added_twice_falls_due_twice() -> None:
    due = Due()
    due.deadlines.add("a")
    due.loop.advance(5)
    due.deadlines.add("a")
    due.loop.advance(60)
    assert due.seen == [("a", 110.0), ("a", 115.0)]


def test_it_goes_on_after_a_pause_with_nothing_to_do() -> None:
    due = Due()
    due.deadlines.add("a")
    due.loop.advance(100)
    due.deadlines.add("b")
    due.loop.advance(100)
    assert due.seen == [("a", 110.0), ("b", 210.0)]


def test_an_item_that_adds_itself_when_it_is_due_comes_again_after_the_delay() -> None:
    loop, seen = Loop(), list[float]()

    def again(item: str, _at_s: float) -> None:
        seen.append(loop.now_s)
        deadlines.add(item)

    deadlines = Deadlines[str](10.0, again, loop.asyncio)
    deadlines.add("a")
    loop.advance(35)
    assert seen == [110.0, 120.0, 130.0]


def test_closing_forgets_everything_and_leaves_no_timer() -> None:
    due = Due()
    due.deadlines.add("a")
    due.deadlines.close()
    assert due.loop.timers == 0
    due.loop.advance(60)
    assert due.seen == []
    due.deadlines.close()


def test_closing_while_items_fall_due_forgets_the_rest() -> None:
    loop, seen = Loop(), list[str]()

    def take(item: str, _at_s: float) -> None:
        seen.append(item)
        deadlines.close()

    deadlines = Deadlines[str](10.0, take, loop.asyncio)
    deadlines.add("a")
    deadlines.add("b")
    loop.advance(60)
    assert seen == ["a"]
    assert loop.timers == 0


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 30), max_size=20))
def test_nothing_is_early_late_or_forgotten_whenever_it_is_added(pauses: list[float]) -> None:
    due = Due()
    expected = []
    for number, pause in enumerate(pauses):
        due.loop.advance(pause)
        expected.append((str(number), due.deadlines.add(str(number))))
    due.loop.advance(60)
    assert [item for item, _ in due.seen] == [item for item, _ in expected]
    assert all(abs(at_s - planned_s) <= 0.001 for (_, at_s), (_, planned_s) in zip(due.seen, expected, strict=True))


# -- the calendar -----------------------------------------------------------------------------------


class Book:
    """A calendar whose clock differs from the loop's by a constant, as Unix time does."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.seen: list[tuple[str, float]] = []
        self.calendar = Calendar[str](lambda item: self.seen.append((item, self.clock())), self.clock, self.loop.asyncio)

    def clock(self) -> float:
        return self.loop.now_s + 1_700_000_000.25


def test_an_item_falls_due_not_before_its_time_and_at_most_two_seconds_late() -> None:
    book = Book()
    planned = {str(number): book.clock() + number * 0.37 for number in range(50)}
    for item, at_s in planned.items():
        book.calendar.add(item, at_s)
    book.loop.advance(30)
    assert {item for item, _ in book.seen} == set(planned)
    assert all(0 <= at_s - planned[item] <= 2 for item, at_s in book.seen)


def test_items_of_any_order_fall_due_in_the_order_of_their_times() -> None:
    book = Book()
    for item, delay in (("late", 60.0), ("soon", 5.0), ("past", -100.0)):
        book.calendar.add(item, book.clock() + delay)
    book.loop.advance(2)
    assert [item for item, _ in book.seen] == ["past"]
    book.loop.advance(60)
    assert [item for item, _ in book.seen] == ["past", "soon", "late"]


def test_the_calendar_holds_one_timer_while_there_is_something_and_none_otherwise() -> None:
    book = Book()
    for number in range(100):
        book.calendar.add(str(number), book.clock() + number)
    assert book.loop.timers == 1
    book.loop.advance(200)
    assert len(book.seen) == 100
    assert book.loop.timers == 0
    book.calendar.add("more", book.clock() + 1)
    book.loop.advance(4)
    assert book.seen[-1][0] == "more"


def test_an_item_may_add_another_when_it_is_due() -> None:
    loop, seen = Loop(), list[str]()

    def take(item: str) -> None:
        seen.append(item)
        if len(seen) < 3:
            calendar.add(item + "+", loop.now_s + 3)

    calendar = Calendar[str](take, loop.time, loop.asyncio)
    calendar.add("a", loop.now_s + 3)
    loop.advance(30)
    assert seen == ["a", "a+", "a++"]
    assert loop.timers == 0


def test_a_closed_calendar_has_forgotten_everything() -> None:
    book = Book()
    book.calendar.add("a", book.clock() + 1)
    book.calendar.close()
    assert book.loop.timers == 0
    book.loop.advance(60)
    assert book.seen == []


def test_everything_can_be_made_due_at_once() -> None:
    due = Due()
    due.deadlines.add("a")
    due.loop.advance(1)
    due.deadlines.add("b")
    due.deadlines.expire()
    assert due.seen == [("a", 101.0), ("b", 101.0)]
    assert due.loop.timers == 0
    due.loop.advance(60)
    assert len(due.seen) == 2
