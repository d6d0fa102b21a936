"""Facts for plans: a cluster of three empty nodes in three zones."""

from typing import Any

from fake_world import ZONES, node

from activities.models.facts import DeployFacts, DiskPrice


def facts_for(**fields: Any) -> DeployFacts:
    known: dict[str, Any] = {
        "cluster": "c",
        "cloud": "aws",
        "zones": ZONES,
        "nodes": [node(zone) for zone in ZONES],
        "namespace_owner": None,
        "components": [],
        "prices": {
            "gp3": DiskPrice(
                gib=0.08, iops=0.005, included_iops=3000, throughput=0.04, included_throughput=125
            )
        },
        "priced_on": "2026-07-20",
    }
    return DeployFacts(**{**known, **fields})
