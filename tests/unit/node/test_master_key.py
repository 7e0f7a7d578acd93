"""The file of master keys: what it may hold and who may read it; a sentence says what is wrong, and shows nothing of it."""

from __future__ import annotations

import base64
import os
import pathlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from realtime import config
from realtime.config import Config, ConfigError
from realtime.node import master_key

ONE, TWO = (base64.b64encode(bytes([number]) * 32) for number in (1, 2))


def own(path: pathlib.Path) -> Config:
    return config.load({}, {"master_key_file": str(path), "database_url": "postgresql://db/x"})


def embedded(folder: pathlib.Path) -> Config:
    return config.load({}, {"data_dir": str(folder)})


def written(folder: pathlib.Path, content: bytes, mode: int = 0o600) -> pathlib.Path:
    path = folder / "keys"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_each_line_is_a_key_and_the_first_one_encrypts(tmp_path: pathlib.Path) -> None:
    one = master_key.load(own(written(tmp_path, ONE)))
    both = master_key.load(own(written(tmp_path, b"\n" + TWO + b"\r\n" + ONE + b"\n\n")))
    assert one is not None and both is not None
    assert len(both.ids) == 2
    assert both.ids[1:] == one.ids


def test_a_database_of_ones_own_without_a_file_has_no_master_key() -> None:
    assert master_key.load(config.load({}, {"database_url": "postgresql://db/x"})) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (ONE[:-5], "Line 1"),
        (base64.b64encode(b"x" * 31), "Line 1"),
        (base64.b64encode(b"x" * 33), "Line 1"),
        (ONE + b"\nnot base64 at all", "Line 2"),
        (b"\xff\xfe" + ONE, "Line 1"),
        (b"# a comment\n" + ONE, "Line 1"),
        (ONE + b"\n" + ONE, "twice"),
        (b"\n".join(base64.b64encode(bytes([n]) * 32) for n in range(17)), "too long"),
        (b"A" * 100_000, "too long"),
    ],
)
def test_a_file_that_holds_anything_else_is_refused_with_one_sentence(tmp_path: pathlib.Path, content: bytes, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        master_key.load(own(written(tmp_path, content)))
    text = str(refused.value)
    assert text.endswith(".") and "\n" not in text
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    for part in (ONE[:12].decode(), "not base64", "AAAAAAAA"):
        assert part not in text


@pytest.mark.parametrize(("mode", "good"), [(0o400, True), (0o600, True), (0o440, True), (0o640, True), (0o644, False),
                                            (0o604, False), (0o660, False), (0o602, False), (0o601, False)])  # fmt: skip
def test_a_file_that_others_may_read_or_its_group_may_change_is_refused(tmp_path: pathlib.Path, mode: int, good: bool) -> None:
    settings = own(written(tmp_path, ONE, mode))
    if good:
        assert master_key.load(settings) is not None
    else:
        with pytest.raises(ConfigError, match="chmod 600"):
            master_key.load(settings)


def test_a_file_that_is_not_there_or_no_file_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        master_key.load(own(tmp_path / "missing"))
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        master_key.load(own(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    for path in (pathlib.Path(os.devnull), tmp_path / "pipe"):
        with pytest.raises(ConfigError, match="no regular file"):
            master_key.load(own(path))


def test_a_link_to_the_file_is_followed_as_kubernetes_mounts_secrets(tmp_path: pathlib.Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(written(tmp_path, ONE, 0o440))
    assert master_key.load(own(link)) is not None


def test_the_embedded_database_gets_a_key_of_its_own_once_for_its_owner_alone(tmp_path: pathlib.Path) -> None:
    first = master_key.load(embedded(tmp_path))
    path = tmp_path / "master.key"
    assert path.stat().st_mode & 0o777 == 0o600
    content = path.read_bytes()
    again = master_key.load(embedded(tmp_path))
    assert first is not None and again is not None
    assert first.ids == again.ids
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["master.key"]


def test_of_several_processes_that_make_the_key_at_once_one_wins(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pathlib.Path, "exists", lambda _path: False)
    pids = iter(range(1, 1000))
    monkeypatch.setattr(os, "getpid", lambda: next(pids))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: master_key.load(embedded(tmp_path)), range(8)))
    assert len({tuple(keys.ids) for keys in found if keys is not None}) == 1
    assert None not in found
    assert os.listdir(tmp_path) == ["master.key"]


def test_a_named_file_counts_for_the_embedded_database_too(tmp_path: pathlib.Path) -> None:
    path = written(tmp_path, ONE)
    named = master_key.load(config.load({}, {"data_dir": str(tmp_path / "data"), "master_key_file": str(path)}))
    same = master_key.load(own(path))
    assert named is not None and same is not None
    assert named.ids == same.ids
    assert not (tmp_path / "data").exists()


def test_a_folder_that_takes_no_file_is_said(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="cannot be made"):
        master_key.load(embedded(tmp_path / "missing"))
