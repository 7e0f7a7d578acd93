"""`roomwire keys`: what the operator does with the keys of secrets at rest, on the database itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realtime.auth import keys as signing
from realtime.auth import signing_keys
from realtime.auth.signing_keys import SigningKeyStore
from realtime.config import ConfigError
from realtime.node import master_key, serve, starting
from realtime.store.pool import Database
from realtime.store.rewrapping import rewrap
from realtime.store.wrapping import UnknownMasterKey, shown
from realtime.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from realtime.auth.signing_keys import StoredKey
    from realtime.config import Config
    from realtime.store.wrapping import MasterKeys

WRAPPED = (signing_keys.WRAPPED,)
"""Every column of wrapped secrets: a capability that has one adds it here."""


async def run(config: Config, action: str) -> int:
    """Carry out one of `cli.KEYS_ACTIONS`; return the exit status.

    Raises:
        ConfigError: there is no master key, or its file cannot be used.
        EngineError: the embedded PostgreSQL cannot be started or reached.
        Unreadable: a secret was encrypted with a master key that is not here, or changed.
        Unavailable.
    """
    logs.configure("error", config.log_format)
    async with serve.database(config) as database:
        keys = master_key.load(config)
        store = SigningKeyStore(database, keys)
        if action == "status":
            print("\n".join(_described(keys, await store.stored())))
            return 0
        if action == "reset":
            await store.reset(*signing.new_key())
            print("A new signing key is in place of all others. Nodes read it within 30 s, and clients refresh their tokens.")
            return 0
        if keys is None:
            raise ConfigError("There is no master key: name its file in ROOMWIRE_MASTER_KEY_FILE, for every node first.")
        return await _rotate(database, store, keys)


async def replaced_if_unreadable(database_url: str, keys: MasterKeys | None) -> str:
    """Make a new signing key when those that were restored cannot be read here; return what the operator must know of it.

    Raises:
        Unreadable: a secret was changed.
        Unavailable.
    """
    database = Database(database_url, size=2)
    await database.open()
    try:
        store = SigningKeyStore(database, keys)
        try:
            await store.usable()
        except UnknownMasterKey:
            await store.reset(*signing.new_key())
            return (
                "The signing keys in the back-up are encrypted with a master key that is not here: a new one is in their place, "
                "and clients refresh their tokens. To keep the old ones, restore again with that master key file."
            )
        return ""
    finally:
        await database.close()


async def _rotate(database: Database, store: SigningKeyStore, keys: MasterKeys) -> int:
    count = await rewrap(database, WRAPPED, keys)
    older = await store.forget_plain()
    print(f"Everything is encrypted with the master key {keys.ids[0]}, {count} secrets anew.")
    if older:
        print(
            f"Nodes of the version before serve ({older} connections), so the signing keys are kept in plain too: "
            "run this again when none is left."
        )
        return starting.EX_TEMPFAIL
    return 0


def _described(keys: MasterKeys | None, stored: Sequence[StoredKey]) -> Iterator[str]:
    for number, one in enumerate(keys.ids if keys is not None else []):
        yield f"master key {one}  {'encrypts and decrypts' if number == 0 else 'decrypts'}"
    if keys is None:
        yield "no master key: secrets are kept in plain (ROOMWIRE_MASTER_KEY_FILE)"
    for key in stored:
        facts = [f"signs since {_age(key.age_s)}" if key.age_s >= 0 else f"signs in {_age(-key.age_s)}"]
        if key.retires_in_s is not None:
            facts = [f"counts for {_age(key.retires_in_s)} more"]
        if key.master_key:
            there = keys is not None and key.master_key in keys.ids
            facts.append(f"encrypted with {shown(key.master_key)}{'' if there else ', which is not here'}")
        if key.is_plain:
            facts.append("in plain")
        yield f"signing key {key.kid}  {', '.join(facts)}"


def _age(seconds: float) -> str:
    for unit_s, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} s"
