#!/bin/sh
# Starts Temporal with the password from its file: the server knows only the environment, and what stands in the
# composition's environment would be shown by `docker inspect`.
set -eu

POSTGRES_PWD=$(cat /run/secrets/postgres_password)
export POSTGRES_PWD
exec /etc/temporal/entrypoint.sh
