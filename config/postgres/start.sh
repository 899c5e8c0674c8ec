#!/bin/sh
# The database container's only program: makes the database at the first start, sets the role's password from its
# secret at every start, and becomes the server. Nothing of an image's own entrypoint is used, so that a first start
# that is cut off leaves nothing that looks like a database.
set -eu
data=/var/lib/postgresql/data/16
role=litellm
secret=/run/secrets/POSTGRES_PASSWORD

if [ ! -r "$secret" ]; then
    echo "postgres: $secret cannot be read; run \`litellm-local config render compose\` and start again" >&2
    exit 2
fi
if [ ! -s "$data/PG_VERSION" ]; then
    rm -rf "$data.new"
    initdb --pgdata "$data.new" --username postgres --encoding UTF8 --locale C.UTF-8 --auth reject >/dev/null
    # No superuser: one that may make databases, and owns this one.
    printf 'CREATE ROLE %s LOGIN CREATEDB;\nCREATE DATABASE %s OWNER %s;\n' "$role" "$role" "$role" |
        postgres --single -D "$data.new" -c log_min_messages=warning postgres >/dev/null
    mv "$data.new" "$data"
fi
if [ "$(cat "$data/PG_VERSION")" != 16 ]; then
    echo "postgres: the data is of PostgreSQL $(cat "$data/PG_VERSION"), this is 16" >&2
    exit 2
fi
# In a pipe, never on a command line. A quote in the password is doubled, as SQL has it.
{
    printf "ALTER ROLE %s PASSWORD '" "$role"
    tr -d '\n' <"$secret" | sed "s/'/''/g"
    printf "';\n"
} | postgres --single -D "$data" -c log_min_messages=warning postgres >/dev/null
exec postgres -D "$data" -c config_file=/etc/postgres/postgresql.conf
