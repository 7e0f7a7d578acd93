#!/bin/sh
# Run once by the image of PostgreSQL, on an empty data directory: the two roles of docs/operations.md and their database.
set -eu
psql -v ON_ERROR_STOP=1 -U postgres -v owner="$OWNER_PASSWORD" -v app="$APP_PASSWORD" <<'SQL'
CREATE ROLE roomwire_owner LOGIN PASSWORD :'owner';
CREATE ROLE roomwire_app LOGIN PASSWORD :'app';
CREATE DATABASE roomwire OWNER roomwire_owner;
REVOKE CONNECT ON DATABASE roomwire FROM PUBLIC;
GRANT CONNECT ON DATABASE roomwire TO roomwire_app;
SQL
