"""Settings: what is wrong is said in one sentence, and what is secret is not shown."""

from __future__ import annotations

import json
from typing import get_args, get_type_hints

import pytest

from realtime import config
from realtime.config import ConfigError, describe, load
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
    assert shown("REALTIME_DATABASE_URL", url) == text


def test_the_hosts_of_a_cluster_are_shown() -> None:
    url = "rediss+cluster://me:s3cret@a:7001,b,[::1]:7003"
    assert shown("REALTIME_REDIS_URL", url) == "rediss+cluster://me:***@a:7001,b,[::1]:7003"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("REALTIME_PORT", "eighty", "REALTIME_PORT is a number, not 'eighty'."),
        ("REALTIME_WORKERS", "0", "REALTIME_WORKERS is from 1 to 64, not '0'."),
        (
            "REALTIME_NODE_ID",
            "a b",
            "REALTIME_NODE_ID is 1 to 64 letters, digits, dots, hyphens or underscores: it stands in URLs.",
        ),
        ("REALTIME_PRT", "80", "REALTIME_PRT is not a setting; `realtime config` lists them all."),
        ("REALTIME_LOG_LEVEL", "loud", "REALTIME_LOG_LEVEL is one of debug, info, warning, error, not 'loud'."),
        (
            "REALTIME_DATABASE_URL",
            "host=db password=s3cret",
            "REALTIME_DATABASE_URL is a URL such as postgresql://user@host/database or redis://host:6379/0.",
        ),
        ("REALTIME_TRUSTED_PROXIES", "10.0.0.0/33", "REALTIME_TRUSTED_PROXIES: '10.0.0.0/33' does not appear to be"),
        ("REALTIME_BASE_PATH", "chat", "REALTIME_BASE_PATH is a path such as /chat"),
        ("REALTIME_BASE_PATH", "/a/../b", "REALTIME_BASE_PATH is a path such as /chat"),
        ("REALTIME_BASE_PATH", "/api", "REALTIME_BASE_PATH is a path such as /chat"),
        ("REALTIME_BASE_PATH", "/a?b", "REALTIME_BASE_PATH is a path such as /chat"),
        ("REALTIME_DRAIN_S", "inf", "REALTIME_DRAIN_S is from 1 to 3600, not 'inf'."),
        ("REALTIME_PING_INTERVAL_S", "nan", "REALTIME_PING_INTERVAL_S is from 0.1 to 3600, not 'nan'."),
        ("REALTIME_STATEMENT_TIMEOUT_MS", "3000000000", "REALTIME_STATEMENT_TIMEOUT_MS is from 100 to 3600000"),
        ("REALTIME_DATA_DIR", "", "REALTIME_DATA_DIR names a folder"),
        ("REALTIME_DATABASE_URL", "mysql://me:s3cret@db/chat", "REALTIME_DATABASE_URL begins with postgresql://."),
        ("REALTIME_REDIS_PREFIX", "", "REALTIME_REDIS_PREFIX is 1 to 64 letters"),
        ("REALTIME_REDIS_PREFIX", "rt:*", "REALTIME_REDIS_PREFIX is 1 to 64 letters"),
        ("REALTIME_TOKEN_ISSUER", "", "REALTIME_TOKEN_ISSUER is 1 to 256 characters"),
        ("REALTIME_TOKEN_AUDIENCE", "a b", "REALTIME_TOKEN_AUDIENCE is 1 to 256 characters"),
        ("REALTIME_METRICS_TOKEN", "0123456789abcdef ", "REALTIME_METRICS_TOKEN is ASCII without blanks"),
        ("REALTIME_TRUSTED_PROXIES", "::ffff:10.0.0.0/104", "REALTIME_TRUSTED_PROXIES: ::ffff:"),
        ("REALTIME_TRUSTED_PROXIES", "10.0.0.1/8", "REALTIME_TRUSTED_PROXIES: 10.0.0.1/8 has host bits set."),
        (
            "REALTIME_MIGRATE_DATABASE_URL",
            "postgresql://db/chat",
            "REALTIME_MIGRATE_DATABASE_URL goes with REALTIME_DATABASE_URL",
        ),
        ("REALTIME_LOCK_TIMEOUT_MS", "5000", "REALTIME_LOCK_TIMEOUT_MS is at most REALTIME_STATEMENT_TIMEOUT_MS"),
        ("REALTIME_REFRESH_TOKEN_TTL_S", "60", "REALTIME_REFRESH_TOKEN_TTL_S is at least REALTIME_ACCESS_TOKEN_TTL_S"),
        ("REALTIME_WRITER_LANES", "11", "REALTIME_WRITER_LANES is at most REALTIME_DATABASE_POOL_SIZE"),
        ("REALTIME_MAX_PACKET_BYTES", "4000000", "REALTIME_MAX_PACKET_BYTES is at most REALTIME_UNSENT_LIMIT_BYTES"),
        ("REALTIME_CORS_ORIGINS", "*,null", "REALTIME_CORS_ORIGINS: `*` stands for every origin already"),
        ("REALTIME_CORS_ORIGINS", "null", "REALTIME_CORS_ORIGINS: `null` is the origin of every sandboxed page"),
        ("REALTIME_CORS_ORIGINS", "https://a.example/chat", "REALTIME_CORS_ORIGINS: 'https://a.example/chat' is more than an"),
        ("REALTIME_METRICS_NETWORKS", "everybody", "REALTIME_METRICS_NETWORKS: 'everybody' does not appear to be"),
        (
            "REALTIME_METRICS_TOKEN",
            "s3cret",
            "REALTIME_METRICS_TOKEN is at least 16 characters long; `openssl rand -hex 32` makes one.",
        ),
    ],
)
def test_a_wrong_setting_is_said_in_one_sentence(name: str, value: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({name: value}, {})
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("url", ["http://me:s3cret@h", "redis://me:s3cret@h:port", "redis+cluster://me:s3cret@h/3"])
def test_a_url_of_redis_that_is_none_stops_the_start_and_is_not_repeated(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = load({"REALTIME_REDIS_URL": url, "REALTIME_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}, {})
    assert serve.told(lambda: serve.run(config)) == 2
    said = capsys.readouterr().err
    assert said.startswith("realtime: REALTIME_REDIS_URL: ")
    assert "s3cret" not in said
    assert said.count("\n") == 1


def test_the_token_of_the_metrics_is_hidden() -> None:
    assert shown("REALTIME_METRICS_TOKEN", "0123456789abcdef") == "(set)"


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
        with pytest.raises(config.ConfigError, match=f"REALTIME_{name.upper()} is from"):
            config.load({f"REALTIME_{name.upper()}": "65536"}, {})


def test_a_base_path_may_end_with_a_slash() -> None:
    assert [config.load({"REALTIME_BASE_PATH": text}, {}).base_path for text in ("/", "/chat/", "/a/b")] == ["", "/chat", "/a/b"]


def test_a_shorter_statement_timeout_takes_the_wait_for_locks_along() -> None:
    assert load({"REALTIME_STATEMENT_TIMEOUT_MS": "1000"}, {}).lock_timeout_ms == 1000
    assert load({"REALTIME_STATEMENT_TIMEOUT_MS": "9000"}, {}).lock_timeout_ms == 2000
