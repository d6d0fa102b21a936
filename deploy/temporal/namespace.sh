#!/bin/sh
# Makes the namespace and registers the search attributes by which lists of operations stay fast; safe to repeat.
set -eu

namespace=${TEMPORAL_NAMESPACE:-default}

# The server accepts connections some seconds before it serves them.
tries=0
until temporal operator cluster health >/dev/null 2>&1; do
  tries=$((tries + 1))
  [ "$tries" -lt 30 ] || { echo "Error: Temporal at $TEMPORAL_ADDRESS does not serve" >&2; exit 1; }
  sleep 2
done

if ! temporal operator namespace describe --namespace "$namespace" >/dev/null 2>&1; then
  temporal operator namespace create --namespace "$namespace" --retention "${TEMPORAL_RETENTION:-720h}"
fi

# The same list as activities/models/search_attributes.py; a test compares them.
temporal operator search-attribute create --namespace "$namespace" \
  --name SupergiantKind --type Keyword \
  --name SupergiantState --type Keyword \
  --name SupergiantCluster --type Keyword \
  --name SupergiantApp --type Keyword \
  --name SupergiantComponents --type KeywordList \
  --name SupergiantTenant --type Keyword \
  --name SupergiantRequester --type Keyword
