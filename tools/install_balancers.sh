#!/bin/sh
# nginx, HAProxy and PgBouncer for the tests and `make cluster`: from the system's packages, where we may install them and nothing starts them.
have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }
have nginx && have haproxy && have pgbouncer && exit 0
# Debian's packages start their servers; where systemd runs (not in a container) that is for the operator to decide.
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && [ ! -d /run/systemd/system ]; then
    echo "Installing nginx, HAProxy and PgBouncer for the tests (the first time only) ..."
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nginx haproxy pgbouncer openssl; } >/dev/null 2>&1 && exit 0
fi
echo "nginx, HAProxy or PgBouncer is not here and could not be installed, so their tests are skipped: install the nginx, haproxy and pgbouncer packages."
