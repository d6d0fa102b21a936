#!/bin/sh
# Makes the namespace and registers the search attributes by which lists of operations stay fast; safe to repeat.
set -eu

namespace=${TEMPORAL_NAMESPACE:-default}

# Runs a command until it works. The server accepts connections some seconds before it serves them, and knows a new
# namespace some seconds after it was made.
insist() {
  tries=0
  until said=$("$@" 2>&1); do
    tries=$((tries + 1))
    [ "$tries" -lt 45 ] || { echo "Error: $* failed for 90 s: $said" >&2; exit 1; }
    sleep 2
  done
  echo "$said"
}

insist temporal operator cluster health

if ! temporal operator namespace describe --namespace "$namespace" >/dev/null 2>&1; then
  temporal operator namespace create --namespace "$namespace" --retention "${TEMPORAL_RETENTION:-720h}"
fi

# The same list as activities/models/search_attributes.py; a test compares them.
insist temporal operator search-attribute create --namespace "$namespace" \
  --name SupergiantKind --type Keyword \
  --name SupergiantState --type Keyword \
  --name SupergiantCluster --type Keyword \
  --name SupergiantApp --type Keyword \
  --name SupergiantComponents --type KeywordList \
  --name SupergiantTenant --type Keyword \
  --name SupergiantRequester --type Keyword
