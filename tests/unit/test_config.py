"""Settings: what is wrong is said in one sentence, and what is secret is not shown."""

from __future__ import annotations

import json
import pathlib
from typing import get_args, get_type_hints

import pytest

from realtime import cli, config
from realtime.config import ConfigError, describe, load, without_settings
from realtime.node import serve
from realtime.wire.rest import MAX_SEQ
from realtime.wire.socket import RoomSubscribe
from realtime.wire.types import MAX_BODY_CHARS


def shown(name: str, value: str) -> str:
    found = {variable: text for variable, _, _, _, text in describe(load({name: value}, {}))}
    return found[name]


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("postgresql://app:s3cret@db.example.org:5432/chat?sslmode=require", "postgresql://app:***@db.example.org:5432/chat"),
        ("postgresql://db/chat", "postgresql://db/chat"),
        ("postgresql://app@db/chat", "postgresql://app@db/chat"),
        ("postgresql://app:with/slash@and-at@db/chat", "postgresql://app:***@db/chat"),
        ("postgresql:///chat?host=/run/postgresql&password=s3cret", "postgresql:///chat"),
    ],
)
def test_the_password_of_a_url_is_hidden(url: str, text: str) -> None:
    assert shown("ROOMWIRE_DATABASE_URL", url) == text


def test_the_hosts_of_a_cluster_are_shown() -> None:
    url = "rediss+cluster://me:s3cret@a:7001,b,[::1]:7003"
    assert shown("ROOMWIRE_REDIS_URL", url) == "rediss+cluster://me:***@a:7001,b,[::1]:7003"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ROOMWIRE_PORT", "eighty", "ROOMWIRE_PORT is a number, not 'eighty'."),
        ("ROOMWIRE_WORKERS", "0", "ROOMWIRE_WORKERS is from 1 to 64, not '0'."),
        (
            "ROOMWIRE_NODE_ID",
            "a b",
            "ROOMWIRE_NODE_ID is 1 to 64 letters, digits, dots, hyphens or underscores: it stands in URLs.",
        ),
        ("ROOMWIRE_PRT", "80", "ROOMWIRE_PRT is not a setting; `roomwire config` lists them all."),
        ("ROOMWIRE_LOG_LEVEL", "loud", "ROOMWIRE_LOG_LEVEL is one of debug, info, warning, error, not 'loud'."),
        (
            "ROOMWIRE_DATABASE_URL",
            "host=db password=s3cret",
            "ROOMWIRE_DATABASE_URL is a URL such as postgresql://user@host/database or redis://host:6379/0.",
        ),
        ("ROOMWIRE_TRUSTED_PROXIES", "10.0.0.0/33", "ROOMWIRE_TRUSTED_PROXIES: '10.0.0.0/33' does not appear to be"),
        ("ROOMWIRE_BASE_PATH", "chat", "ROOMWIRE_BASE_PATH is a path such as /chat"),
        ("ROOMWIRE_BASE_PATH", "/a/../b", "ROOMWIRE_BASE_PATH is a path such as /chat"),
        ("ROOMWIRE_BASE_PATH", "/api", "ROOMWIRE_BASE_PATH is a path such as /chat"),
        ("ROOMWIRE_BASE_PATH", "/a?b", "ROOMWIRE_BASE_PATH is a path such as /chat"),
        ("ROOMWIRE_DRAIN_S", "inf", "ROOMWIRE_DRAIN_S is from 1 to 3600, not 'inf'."),
        ("ROOMWIRE_PING_INTERVAL_S", "nan", "ROOMWIRE_PING_INTERVAL_S is from 0.1 to 3600, not 'nan'."),
        ("ROOMWIRE_STATEMENT_TIMEOUT_MS", "3000000000", "ROOMWIRE_STATEMENT_TIMEOUT_MS is from 100 to 3600000"),
        ("ROOMWIRE_DATA_DIR", "", "ROOMWIRE_DATA_DIR names a folder"),
        ("ROOMWIRE_DATABASE_URL", "mysql://me:s3cret@db/chat", "ROOMWIRE_DATABASE_URL begins with postgresql://."),
        ("ROOMWIRE_REDIS_PREFIX", "", "ROOMWIRE_REDIS_PREFIX is 1 to 64 letters"),
        ("ROOMWIRE_REDIS_PREFIX", "rt:*", "ROOMWIRE_REDIS_PREFIX is 1 to 64 letters"),
        ("ROOMWIRE_TOKEN_ISSUER", "", "ROOMWIRE_TOKEN_ISSUER is 1 to 256 characters"),
        ("ROOMWIRE_TOKEN_AUDIENCE", "a b", "ROOMWIRE_TOKEN_AUDIENCE is 1 to 256 characters"),
        ("ROOMWIRE_METRICS_TOKEN", "0123456789abcdef ", "ROOMWIRE_METRICS_TOKEN is ASCII without blanks"),
        ("ROOMWIRE_TRUSTED_PROXIES", "::ffff:10.0.0.0/104", "ROOMWIRE_TRUSTED_PROXIES: ::ffff:"),
        ("ROOMWIRE_OUTBOUND_NETWORKS", "10.0.0.0/40", "ROOMWIRE_OUTBOUND_NETWORKS: '10.0.0.0/40' does not appear to be"),
        ("ROOMWIRE_OUTBOUND_NETWORKS", "::ffff:10.0.0.0/104", "ROOMWIRE_OUTBOUND_NETWORKS: ::ffff:"),
        ("ROOMWIRE_OUTBOUND_PORTS", "80,https", "ROOMWIRE_OUTBOUND_PORTS: 'https' is no TCP port."),
        ("ROOMWIRE_OUTBOUND_PORTS", "65536", "ROOMWIRE_OUTBOUND_PORTS: '65536' is no TCP port."),
        ("ROOMWIRE_OUTBOUND_PORTS", "", "ROOMWIRE_OUTBOUND_PORTS names at least one port, such as 443."),
        ("ROOMWIRE_OUTBOUND_PROXY", "socks5://me:s3cret@proxy", "ROOMWIRE_OUTBOUND_PROXY is a URL such as http://proxy"),
        ("ROOMWIRE_OUTBOUND_PROXY", "http://", "ROOMWIRE_OUTBOUND_PROXY is a URL such as http://proxy"),
        ("ROOMWIRE_TRUSTED_PROXIES", "10.0.0.1/8", "ROOMWIRE_TRUSTED_PROXIES: 10.0.0.1/8 has host bits set."),
        (
            "ROOMWIRE_MIGRATE_DATABASE_URL",
            "postgresql://db/chat",
            "ROOMWIRE_MIGRATE_DATABASE_URL goes with ROOMWIRE_DATABASE_URL",
        ),
        ("ROOMWIRE_LOCK_TIMEOUT_MS", "5000", "ROOMWIRE_LOCK_TIMEOUT_MS is at most ROOMWIRE_STATEMENT_TIMEOUT_MS"),
        ("ROOMWIRE_REFRESH_TOKEN_TTL_S", "60", "ROOMWIRE_REFRESH_TOKEN_TTL_S is at least ROOMWIRE_ACCESS_TOKEN_TTL_S"),
        ("ROOMWIRE_WRITER_LANES", "11", "ROOMWIRE_WRITER_LANES is at most ROOMWIRE_DATABASE_POOL_SIZE"),
        ("ROOMWIRE_MAX_PACKET_BYTES", "4000000", "ROOMWIRE_MAX_PACKET_BYTES is at most ROOMWIRE_UNSENT_LIMIT_BYTES"),
        ("ROOMWIRE_CORS_ORIGINS", "*,null", "ROOMWIRE_CORS_ORIGINS: `*` stands for every origin already"),
        ("ROOMWIRE_CORS_ORIGINS", "null", "ROOMWIRE_CORS_ORIGINS: `null` is the origin of every sandboxed page"),
        ("ROOMWIRE_CORS_ORIGINS", "https://a.example/chat", "ROOMWIRE_CORS_ORIGINS: 'https://a.example/chat' is more than an"),
        ("ROOMWIRE_METRICS_NETWORKS", "everybody", "ROOMWIRE_METRICS_NETWORKS: 'everybody' does not appear to be"),
        (
            "ROOMWIRE_METRICS_TOKEN",
            "s3cret",
            "ROOMWIRE_METRICS_TOKEN is at least 16 characters long; `openssl rand -hex 32` makes one.",
        ),
    ],
)
def test_a_wrong_setting_is_said_in_one_sentence(name: str, value: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({name: value}, {})
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("url", ["http://me:s3cret@h", "redis://me:s3cret@h:port", "redis+cluster://me:s3cret@h/3"])
def test_a_url_of_redis_that_is_none_stops_the_start_and_is_not_repeated(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = load({"ROOMWIRE_REDIS_URL": url, "ROOMWIRE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}, {})
    assert serve.told(lambda: serve.run(config)) == 2
    said = capsys.readouterr().err
    assert said.startswith("roomwire: ROOMWIRE_REDIS_URL: ")
    assert "s3cret" not in said
    assert said.count("\n") == 1


def test_the_token_of_the_metrics_is_hidden() -> None:
    assert shown("ROOMWIRE_METRICS_TOKEN", "0123456789abcdef") == "(set)"


def test_nobody_reads_the_metrics_unless_a_setting_says_so() -> None:
    settings = load({}, {})
    assert (settings.scrapers, settings.metrics_token) == ((), "")


def test_a_packet_may_hold_whatever_the_contract_permits_in_whatever_form_of_json() -> None:
    """The longest message with every character escaped, and the subscription of the most rooms."""
    body = "\\ud83d\\ude00" * MAX_BODY_CHARS
    head = '421234["message.send", {"room": "", "client_id": "", "body": ""}]' + "\\u0041" * (64 + 128)
    assert len(head) + len(body) <= config.PACKET_BYTES
    some_id = "019b0000-0000-7000-8000-000000000001"
    one = json.dumps({"room": some_id, "since": MAX_SEQ, "epoch": some_id}) + ", "
    _, bounds = get_args(get_type_hints(RoomSubscribe, include_extras=True)["rooms"])
    most = bounds.max_length
    assert 100 + most * len(one) <= config.PACKET_BYTES
    for name in ("max_packet_bytes", "unsent_limit_bytes"):
        with pytest.raises(config.ConfigError, match=f"ROOMWIRE_{name.upper()} is from"):
            config.load({f"ROOMWIRE_{name.upper()}": "65536"}, {})


def test_a_base_path_may_end_with_a_slash() -> None:
    assert [config.load({"ROOMWIRE_BASE_PATH": text}, {}).base_path for text in ("/", "/chat/", "/a/b")] == ["", "/chat", "/a/b"]


def test_a_shorter_statement_timeout_takes_the_wait_for_locks_along() -> None:
    assert load({"ROOMWIRE_STATEMENT_TIMEOUT_MS": "1000"}, {}).lock_timeout_ms == 1000
    assert load({"ROOMWIRE_STATEMENT_TIMEOUT_MS": "9000"}, {}).lock_timeout_ms == 2000


def test_a_setting_under_its_old_name_works_and_its_errors_use_the_new_one() -> None:
    assert load({"REALTIME_PORT": "81"}, {}).port == 81
    assert load({"REALTIME_PORT": "81", "ROOMWIRE_PORT": "81"}, {}).port == 81
    assert load({"REALTIME_PORT": "81"}, {"port": "82"}).port == 82
    with pytest.raises(ConfigError, match=r"^ROOMWIRE_PORT is a number, not 'eighty'\.$"):
        load({"REALTIME_PORT": "eighty"}, {})
    with pytest.raises(ConfigError, match=r"^REALTIME_PRT is not a setting"):
        load({"REALTIME_PRT": "80"}, {})


@pytest.mark.parametrize("order", [1, -1])
def test_a_setting_with_two_values_under_its_two_names_stops_the_start(order: int) -> None:
    both = dict([("REALTIME_PORT", "81"), ("ROOMWIRE_PORT", "82")][::order])
    with pytest.raises(ConfigError) as caught:
        load(both, {})
    assert str(caught.value) == (
        "REALTIME_PORT and ROOMWIRE_PORT are both set, and differ: REALTIME_PORT is the old name of ROOMWIRE_PORT. "
        "Remove one of them."
    )


def test_one_warning_at_the_start_lists_the_old_names_in_use(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.environ", {"REALTIME_PORT": "81", "REALTIME_LOG_FORMAT": "json", "ROOMWIRE_HOST": "::1"})
    assert cli.main(["config"]) == 0
    shown, said = capfd.readouterr()
    assert "ROOMWIRE_PORT=81\n" in shown
    assert "REALTIME_" not in shown
    assert [json.loads(line)["message"] for line in said.splitlines()] == [
        "REALTIME_LOG_FORMAT is now called ROOMWIRE_LOG_FORMAT, REALTIME_PORT is now called ROOMWIRE_PORT; "
        "the old names work until 1.0"
    ]
    monkeypatch.setattr("os.environ", {"ROOMWIRE_PORT": "81"})
    assert cli.main(["config"]) == 0
    assert capfd.readouterr().err == ""


def test_a_data_directory_of_a_release_before_is_used_where_it_stands(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load({}, {}).data_dir == ".roomwire"
    (tmp_path / ".realtime").mkdir()
    assert load({}, {}).data_dir == ".realtime"
    assert load({}, {"data_dir": ".roomwire"}).data_dir == ".roomwire"
    (tmp_path / ".roomwire").mkdir()
    assert load({}, {}).data_dir == ".roomwire"


def test_a_child_gets_no_setting_from_its_environment() -> None:
    assert without_settings({"REALTIME_PORT": "1", "ROOMWIRE_PORT": "2", "PATH": "/bin"}) == {"PATH": "/bin"}
