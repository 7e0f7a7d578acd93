"""The board on which nodes write how they are, with a clock of our own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from realtime.node.status import CLOSES, FORGOTTEN_S, SAMPLE_S, SAMPLES, SILENT_S, Board, Reading
from realtime.telemetry.metrics import Metrics

WALL_S = 1_767_000_000.0
OK = {"node": "ok", "bus": "ok", "postgresql": "ok"}


class House:
    """Nodes that hear each other unless the bus is cut."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.cut = False
        self.boards: dict[str, Board] = {}
        self.metrics: dict[str, Metrics] = {}
        self.checks: dict[str, dict[str, str]] = {}
        self.told: list[bytes] = []

    def add(self, name: str, run: str = "") -> Board:
        self.metrics[name] = Metrics()
        self.checks[name] = OK
        board = Board(
            name, run or f"{name}.1", "1.2.3", self.metrics[name],
            lambda message: self.tell(name, message), lambda: self.now_s, lambda: WALL_S + self.now_s,
        )  # fmt: skip
        self.boards[name] = board
        return board

    def reading(self, name: str) -> Reading:
        return Reading(self.checks[name], 3, 1, 2, 5, 7, 0)

    def tell(self, sender: str, message: bytes) -> None:
        self.told.append(message)
        for name, board in self.boards.items():
            if name != sender and not self.cut:
                board.heard(message)

    def wait(self, seconds: float, *without: str) -> None:
        end_s = self.now_s + seconds
        while self.now_s + SAMPLE_S <= end_s:
            self.now_s += SAMPLE_S
            for name, board in self.boards.items():
                if name not in without:
                    board.sample(self.reading(name))
        self.now_s = end_s


@pytest.fixture
def house() -> House:
    return House()


def states(board: Board) -> dict[str, str]:
    return {node.node: node.state for node in board.view().nodes}


def test_a_node_alone_shows_itself(house: House) -> None:
    board = house.add("n0")
    board.sample(house.reading("n0"))
    view = board.view()
    node = view.nodes[0]
    assert (view.node, view.sample_s, len(view.nodes), view.closes) == ("n0", SAMPLE_S, 1, [])
    assert (node.state, node.version, node.websocket, node.polling, node.users, node.rooms) == ("ok", "1.2.3", 3, 1, 2, 5)
    assert (node.subscriptions, node.samples[0].connections) == (7, 4)


def test_before_the_first_sample_there_is_nothing_to_show(house: House) -> None:
    assert house.add("n0").view().nodes == []


def test_nodes_show_each_other_and_whoever_answers_comes_first(house: House) -> None:
    for name in ("n1", "n0", "n2"):
        house.add(name)
    house.wait(SAMPLE_S)
    assert [node.node for node in house.boards["n1"].view().nodes] == ["n1", "n0", "n2"]
    assert states(house.boards["n2"]) == dict.fromkeys(("n0", "n1", "n2"), "ok")


def test_rates_are_of_the_span_since_the_last_sample(house: House) -> None:
    board = house.add("n0")
    metrics = house.metrics["n0"]
    house.wait(SAMPLE_S)
    for _ in range(50):
        metrics.requested("message.send", "ok", 0.004)
    metrics.flushed(40, 0.002)
    metrics.delivered(10, 20)
    metrics.loop_lag.observe(0.03)
    house.wait(SAMPLE_S)
    first, second = board.view().nodes[0].samples
    assert (first.requests_per_s, first.answer_p99_ms, first.loop_lag_p99_ms) == (0, None, None)
    assert (second.requests_per_s, second.committed_per_s, second.delivered_per_s) == (10, 8, 40)
    assert second.answer_p99_ms == pytest.approx(5, rel=0.02) and second.loop_lag_p99_ms == pytest.approx(50, rel=0.02)
    house.wait(SAMPLE_S)
    assert board.view().nodes[0].samples[-1].requests_per_s == 0


def test_a_killed_node_falls_silent_and_is_forgotten(house: House) -> None:
    house.add("n0")
    house.add("n1")
    house.wait(SAMPLE_S)
    house.wait(SILENT_S + 1, "n1")
    assert states(house.boards["n0"]) == {"n0": "ok", "n1": "silent"}
    house.wait(FORGOTTEN_S, "n1")
    assert states(house.boards["n0"]) == {"n0": "ok"}


def test_a_node_that_ends_says_so(house: House) -> None:
    house.add("n0")
    house.add("n1")
    house.wait(SAMPLE_S)
    house.checks["n1"] = {**OK, "node": "draining"}
    house.wait(SAMPLE_S)
    assert states(house.boards["n0"])["n1"] == "draining"
    house.boards["n1"].sample(house.reading("n1"), gone=True)
    assert states(house.boards["n0"])["n1"] == "gone"
    house.add("n1", run="n1.2")
    house.wait(SAMPLE_S)
    found = [(node.node, node.state) for node in house.boards["n0"].view().nodes]
    assert found == [("n0", "ok"), ("n1", "gone"), ("n1", "ok")], "a new run under the same name is another node"


def test_what_is_wrong_with_a_node_shows(house: House) -> None:
    house.add("n0")
    house.checks["n0"] = {**OK, "bus": "partly away"}
    house.wait(SAMPLE_S)
    node = house.boards["n0"].view().nodes[0]
    assert (node.state, node.checks["bus"]) == ("unready", "partly away")


def test_while_the_bus_is_away_a_node_shows_itself_and_others_as_silent(house: House) -> None:
    house.add("n0")
    house.add("n1")
    house.wait(SAMPLE_S)
    house.cut = True
    house.wait(SILENT_S + SAMPLE_S)
    assert states(house.boards["n0"]) == {"n0": "ok", "n1": "silent"}


def test_latest_closes_of_all_nodes_newest_first(house: House) -> None:
    house.add("n0")
    house.add("n1")
    house.boards["n0"].closed("slow_reader", "websocket", "conn-a", "user-a")
    house.now_s += 1
    house.boards["n1"].closed("transport", "polling", "conn-b", None)
    house.wait(SAMPLE_S)
    closes = house.boards["n0"].view().closes
    assert [(one.node, one.reason, one.transport, one.connection, one.user) for one in closes] == [
        ("n1", "transport", "polling", "conn-b", None),
        ("n0", "slow_reader", "websocket", "conn-a", "user-a"),
    ]
    house.wait(SAMPLE_S)
    assert len(house.boards["n0"].view().closes) == 2, "told once"


def test_a_storm_of_closes_costs_the_bus_little(house: House) -> None:
    house.add("n0")
    house.add("n1")
    for number in range(10_000):
        house.boards["n0"].closed("transport", "websocket", f"conn-{number}", "user")
    house.told.clear()
    house.wait(SAMPLE_S)
    assert max(map(len, house.told)) < 8000
    assert len(house.boards["n0"].view().closes) == CLOSES
    assert 0 < len(house.boards["n1"].view().closes) <= CLOSES


def test_memory_is_bounded(house: House) -> None:
    house.add("n0")
    house.wait(SAMPLE_S * (SAMPLES + 20))
    assert len(house.boards["n0"].view().nodes[0].samples) == SAMPLES


def test_what_is_not_a_status_is_refused(house: House) -> None:
    board = house.add("n0")
    house.add("n1")
    for message in (b"", b"{}", b"[1]", b'{"run":"x","status":{},"sample":{},"closes":[]}'):
        with pytest.raises(msgspec.MsgspecError):
            board.heard(message)


def test_fields_of_a_release_to_come_are_passed_over(house: House) -> None:
    board = house.add("n0")
    house.add("n1").sample(house.reading("n1"))
    told: dict[str, Any] = msgspec.json.decode(house.told[-1])
    told["status"]["temperature"] = 41
    told["more"] = True
    told["run"] = "n9.1"
    board.heard(msgspec.json.encode(told))
    assert len(board.view().nodes) == 2
