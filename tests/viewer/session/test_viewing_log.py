"""What the record says of how a reader looked: from the session's account to the database."""

from __future__ import annotations

import pytest

from drcore.reviews.store import ReviewStore
from viewer.session.viewing_log import ViewingLog

SCALES = ("128", "256", "512", "fused")


class Clock:
    """A clock that a test turns by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def looks(clock):
    looks = ViewingLog(clock)
    looks.show("p1")
    return looks


def tell(looks, key, scales, away=0.0):
    looks.record({looks.view_id(key): {"scales": scales, "away": away}}, SCALES)


def test_time_on_screen_is_summed_over_visits(looks, clock):
    clock.now += 5
    looks.show("p1")  # drawn again, and not another visit
    clock.now += 2
    looks.show("p2")
    clock.now += 60
    assert (looks.seconds("p1"), looks.seconds("p2"), looks.seconds("p3")) == (7, 60, None)
    looks.show("p1")
    clock.now += 1
    assert looks.seconds("p1") == 8
    looks.show(None)
    clock.now += 100
    assert looks.seconds("p1") == 8


def test_time_away_does_not_count(looks, clock):
    clock.now += 100
    tell(looks, "p1", [], away=90.5)
    assert looks.seconds("p1") == 9.5
    tell(looks, "p1", [], away=1e9)  # a browser may say anything
    assert looks.seconds("p1") == 0


def test_each_decision_has_its_own_time(looks, clock):
    clock.now += 10
    tell(looks, "p1", [], away=4)
    looks.decided("p1", "AR")
    assert looks.seconds("p1") == 0
    clock.now += 3
    assert looks.seconds("p1") == 3


def test_unknown_hidden_and_seen_are_told_apart(looks):
    assert looks.scales("p1", "AR") is None
    tell(looks, "p1", [])
    assert looks.scales("p1", "AR") == ()
    tell(looks, "p1", ["fused"])
    tell(looks, "p1", ["512", "128"])
    assert looks.scales("p1", "AR") == ("128", "512", "fused")
    assert looks.scales("p2", "AR") is None


def test_what_a_reader_saw_stays_seen_and_is_not_anothers(looks):
    tell(looks, "p1", ["fused"])
    looks.decided("p1", "AR")
    tell(looks, "p1", [])
    assert looks.scales("p1", "BS") == ()
    assert looks.scales("p1", "AR") == ("fused",)
    looks.decided("p1", "BS")
    tell(looks, "p1", ["128"])
    assert looks.scales("p1", "AR") == ("128", "fused")
    assert looks.scales("p1", "BS") == ("128",)


def test_what_is_told_too_late_does_not_count_for_the_next_decision(looks):
    before = looks.view_id("p1")
    looks.decided("p1", "AR")
    looks.record({before: {"scales": ["fused"], "away": 3}}, SCALES)
    assert looks.scales("p1", "BS") is None


def test_a_browser_that_outlived_its_session_is_not_believed(looks):
    other = ViewingLog()
    looks.record({other.view_id("p1"): {"scales": ["fused"], "away": 0}}, SCALES)
    assert looks.scales("p1", "AR") is None


@pytest.mark.parametrize(
    "tally",
    [None, [], "fused", {}, {"scales": "fused"}, {"away": "x"}, {"away": float("nan")}],
)
def test_nonsense_from_the_browser_tells_nothing(looks, clock, tally):
    clock.now += 5
    for told in (tally, {looks.view_id("p1"): tally}, {1: tally, "x": tally, "a/b/c/d": tally}):
        looks.record(told, SCALES)
    assert looks.scales("p1", "AR") is None
    assert looks.seconds("p1") == 5


def test_unknown_scales_are_left_out(looks):
    tell(looks, "p1", ["fused", "<b>", 7, None, "1024"])
    assert looks.scales("p1", "AR") == ("fused",)


# --- the page -----------------------------------------------------------------------------------


@pytest.fixture
def app(open_app, upload, phantom, encoded):
    """Two photographs of grade 4, the first on screen, and a clock that stands still."""
    files = [(f"{n}_left.jpg", encoded(phantom(seed=n).rgb, "JPEG")) for n in (1, 2)]
    app = open_app(grade=4)
    clock = Clock()
    app.session_state["viewing-log"] = ViewingLog(clock)
    app.session_state["hand"] = clock
    return upload(app, *files)


def save(app, choice="choose-2", reader="AR", button="save-stay"):
    app.text_input(key="reader").set_value(reader).run()
    app.button(key=choice).click().run()
    app.button(key=button).click().run()
    assert not app.exception


def stored(tmp_path):
    with ReviewStore(tmp_path / "reviews.sqlite3") as store:
        return [(d.seconds, d.overlay_scales) for d in store.decisions()]


def test_a_decision_is_kept_with_its_look(app, tmp_path):
    looks, clock = app.session_state["viewing-log"], app.session_state["hand"]
    clock.now += 12.5
    save(app)  # the switches show the map, but no browser has told that it was painted
    tell(looks, "p1", [])
    clock.now += 3
    save(app, "choose-agree", reader="BS")
    tell(looks, "p1", ["fused", "256"], away=1)
    clock.now += 5
    save(app, "choose-3", reader="BS", button="save-next")
    assert stored(tmp_path) == [(12.5, None), (3, ()), (4, ("256", "fused"))]


def test_time_on_one_photograph_is_not_time_on_the_next(app, tmp_path):
    looks, clock = app.session_state["viewing-log"], app.session_state["hand"]
    clock.now += 10
    app.button(key="next").click().run()
    clock.now += 20
    tell(looks, "p2", ["fused"])
    app.text_input(key="reader").set_value("AR").run()
    app.button(key="choose-1").click().run()
    app.button(key="save-next").click().run()
    app.button(key="previous").click().run()
    tell(looks, "p1", [])
    clock.now += 1
    save(app)
    assert stored(tmp_path) == [(20, ("fused",)), (11, ())]


def test_a_decision_that_was_not_saved_ends_no_look(app, tmp_path):
    clock = app.session_state["hand"]
    clock.now += 10
    app.button(key="save-stay").click().run()  # nothing was chosen
    clock.now += 1
    save(app)
    assert stored(tmp_path) == [(11, None)]
