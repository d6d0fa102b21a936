#!/bin/sh
# Brings Temporal's two databases to the schema of this server version; safe to repeat, and how upgrades begin.
set -eu

SQL_PASSWORD=$(cat /run/secrets/postgres_password)
export SQL_PASSWORD SQL_PLUGIN=postgres12 SQL_HOST=postgresql SQL_PORT=5432 SQL_USER=temporal

for pair in temporal:temporal temporal_visibility:visibility; do
  database=${pair%%:*}
  folder=${pair#*:}
  # An existing database is no error; a version table that exists already is one, and means that this was done.
  temporal-sql-tool --db "$database" create
  temporal-sql-tool --db "$database" setup-schema -v 0.0 || echo "$database has a schema already"
  temporal-sql-tool --db "$database" update-schema -d "/etc/temporal/schema/postgresql/v12/$folder/versioned"
done
