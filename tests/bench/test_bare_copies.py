"""The lower bound of a deploy applies copies of the product's objects; they must be such that nothing of the
original is touched and nothing that only the server may say is said."""

from typing import Any

from bench.bare import copied

DISKS = {"vol-1": "vol-2"}
LIVE: dict[str, Any] = {
    "uid": "1234",
    "resourceVersion": "77",
    "creationTimestamp": "2026-01-01T00:00:00Z",
    "generation": 2,
    "managedFields": [{}],
}


def test_a_namespace_is_renamed_and_its_finalizers_are_left_to_the_server() -> None:
    namespace = {
        "kind": "Namespace",
        "metadata": {
            "name": "shop",
            "labels": {"supergiant.io/app": "shop", "kubernetes.io/metadata.name": "shop"},
            **LIVE,
        },
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }
    assert copied(namespace, "shop", "bare", DISKS) == {
        "kind": "Namespace",
        "metadata": {"name": "bare", "labels": {"supergiant.io/app": "bare"}, "annotations": {}},
        "spec": {},
    }


def test_a_persistent_volume_gets_the_other_disk_and_the_other_claim() -> None:
    volume = {
        "kind": "PersistentVolume",
        "metadata": {
            "name": "shop-db-0-data-abc123",
            "finalizers": ["kubernetes.io/pv-protection"],
            "annotations": {
                "pv.kubernetes.io/bound-by-controller": "yes",
                "supergiant.io/step": "db/0/claim/data",
            },
            **LIVE,
        },
        "spec": {
            "claimRef": {"namespace": "shop", "name": "db-0-data-abc123", "uid": "5", "resourceVersion": "6"},
            "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-1"},
        },
        "status": {"phase": "Bound"},
    }
    assert copied(volume, "shop", "bare", DISKS) == {
        "kind": "PersistentVolume",
        "metadata": {
            "name": "bare-db-0-data-abc123",
            "annotations": {"supergiant.io/step": "db/0/claim/data"},
        },
        "spec": {
            "claimRef": {"namespace": "bare", "name": "db-0-data-abc123"},
            "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-2"},
        },
    }


def test_a_service_loses_its_address_but_a_headless_one_stays_headless() -> None:
    def service(address: str) -> dict[str, Any]:
        spec = {"clusterIP": address, "clusterIPs": [address], "selector": {"supergiant.io/app": "shop"}}
        return {"kind": "Service", "metadata": {"name": "db", "namespace": "shop", **LIVE}, "spec": spec}

    assert copied(service("10.96.1.2"), "shop", "bare", DISKS)["spec"] == {
        "selector": {"supergiant.io/app": "bare"}
    }
    assert copied(service("None"), "shop", "bare", DISKS)["spec"]["clusterIP"] == "None"


def test_the_original_is_not_changed() -> None:
    secret = {"kind": "Secret", "metadata": {"name": "db.password", "namespace": "shop", **LIVE}, "data": {}}
    copied(secret, "shop", "bare", DISKS)
    assert secret["metadata"]["uid"] == "1234"  # type: ignore[index]
    assert secret["metadata"]["namespace"] == "shop"  # type: ignore[index]
