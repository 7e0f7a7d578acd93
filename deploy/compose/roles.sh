#!/bin/sh
# Run once by the image of PostgreSQL, on an empty data directory: the two roles of docs/operations.md and their database.
set -eu
psql -v ON_ERROR_STOP=1 -U postgres -v owner="$OWNER_PASSWORD" -v app="$APP_PASSWORD" <<'SQL'
CREATE ROLE realtime_owner LOGIN PASSWORD :'owner';
CREATE ROLE realtime_app LOGIN PASSWORD :'app';
CREATE DATABASE realtime OWNER realtime_owner;
REVOKE CONNECT ON DATABASE realtime FROM PUBLIC;
GRANT CONNECT ON DATABASE realtime TO realtime_app;
SQL
