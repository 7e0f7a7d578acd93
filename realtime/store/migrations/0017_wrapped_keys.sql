-- Signing keys encrypted under a master key that the database never sees (docs/decisions/045-secrets-at-rest.md).
--
-- Nodes of the version before read and write `secret` alone, so new nodes fill both columns for as long as there may be such
-- nodes. `roomwire keys rotate` then forgets the plain ones; a key that was never there in plain, and the first one forgotten,
-- make the version before refuse to start, which is safer than a key that it takes for an empty one.

ALTER TABLE signing_keys
    ADD COLUMN IF NOT EXISTS wrapped text,
    ALTER COLUMN secret DROP NOT NULL;

-- Forget the secrets in plain: of keys that are wrapped, and of those that no token is checked with any more. As its owner: the
-- application role can make no other change to a secret.
CREATE OR REPLACE FUNCTION forget_plain_signing_keys() RETURNS void
LANGUAGE sql
SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
    UPDATE signing_keys SET secret = NULL WHERE secret IS NOT NULL AND (wrapped IS NOT NULL OR retires_at <= now())
$$;

REVOKE ALL ON FUNCTION forget_plain_signing_keys FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'realtime_app') THEN
        GRANT INSERT (wrapped), UPDATE (wrapped) ON signing_keys TO realtime_app;
        GRANT EXECUTE ON FUNCTION forget_plain_signing_keys TO realtime_app;
    END IF;
END
$$;
