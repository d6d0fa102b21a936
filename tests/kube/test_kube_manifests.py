"""What a request becomes on Kubernetes, as manifests."""

from typing import Any

import pytest

from activities.errors import InvalidSpec
from activities.kube import manifests, pod_manifests
from activities.models.instances import InstanceRequest
from tests import kube_requests as ask


def pod_spec(**changes: Any) -> dict[str, Any]:
    spec: dict[str, Any] = pod_manifests.stateful_set(ask.of_instance(**changes))["spec"]["template"]["spec"]
    return spec


def container(**changes: Any) -> dict[str, Any]:
    """The pod's one container, with changes to its document."""
    document = ask.component().model_dump(exclude_none=True)["containers"][0]
    spec = pod_spec(containers=[{**document, **changes}])
    found: dict[str, Any] = spec["containers"][0]
    return found


def by_kind(**changes: Any) -> dict[tuple[str, str], dict[str, Any]]:
    made = manifests.component_objects(ask.of_component(**changes))
    return {(m["kind"], m["metadata"]["name"]): m for m in made}


def test_every_object_says_whose_it_is() -> None:
    objects = [
        *manifests.component_objects(ask.of_component()),
        manifests.secret(ask.of_component(), "password", "x"),
        manifests.instance_service(ask.of_instance()),
        manifests.persistent_volume(ask.bind(), "default", "ebs.csi.aws.com", "gp3"),
        manifests.claim(ask.bind(), "default", "gp3"),
        manifests.pointer(ask.record()),
        pod_manifests.stateful_set(ask.of_instance()),
    ]
    for made in objects:
        labels = made["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "supergiant"
        assert labels["supergiant.io/app"] == "shop"
        assert labels["supergiant.io/component"] == "db"
        assert labels["supergiant.io/tenant"] == "default"
        assert made["metadata"]["annotations"]["supergiant.io/operation"] == "op-1"


def test_a_namespace_keeps_privileged_pods_out() -> None:
    labels = manifests.namespace(ask.namespace())["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "baseline"


def test_an_instance_is_a_set_of_one_that_is_replaced_only_by_us() -> None:
    spec = pod_manifests.stateful_set(ask.of_instance(1))["spec"]
    assert spec["replicas"] == 1
    assert spec["updateStrategy"] == {"type": "OnDelete"}
    assert spec["serviceName"] == "db-all"
    assert "volumeClaimTemplates" not in spec
    assert spec["selector"]["matchLabels"]["supergiant.io/instance"] == "1"
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


def test_another_operation_does_not_change_the_pod() -> None:
    first = pod_manifests.stateful_set(ask.of_instance(operation="op-1"))
    second = pod_manifests.stateful_set(ask.of_instance(operation="op-2"))
    assert first["spec"] == second["spec"]
    assert first != second


def test_a_pod_has_no_privileges() -> None:
    spec = pod_spec()
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"] == {
        "seccompProfile": {"type": "RuntimeDefault"},
        "fsGroup": 999,
        "fsGroupChangePolicy": "OnRootMismatch",
        "runAsGroup": 999,
        "runAsNonRoot": True,
        "runAsUser": 999,
    }
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def test_without_a_user_the_image_decides() -> None:
    assert pod_spec(run_as=None)["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}


def test_a_pod_stays_in_its_zone_and_away_from_its_like() -> None:
    affinity = pod_spec()["affinity"]
    here = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert here["nodeSelectorTerms"] == [
        {
            "matchExpressions": [
                {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-east-1a"]}
            ]
        }
    ]
    [apart] = affinity["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert apart["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"


def test_disks_are_mounted_by_the_planned_claims() -> None:
    spec = pod_spec()
    assert spec["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": ask.claim(0)}}]
    assert spec["containers"][0]["volumeMounts"] == [
        {"name": "data", "mountPath": "/data", "readOnly": False}
    ]


def test_a_disk_without_a_planned_claim_is_refused() -> None:
    request = InstanceRequest(**{**ask.of_instance().model_dump(), "claims": {}})
    with pytest.raises(InvalidSpec, match="no claim is planned for disk 'data' of instance db-0"):
        pod_manifests.stateful_set(request)


def test_the_environment_names_the_instance_before_anything_may_refer_to_it() -> None:
    env = container()["env"]
    assert [entry["name"] for entry in env] == [
        "SUPERGIANT_APP",
        "SUPERGIANT_COMPONENT",
        "SUPERGIANT_INSTANCE",
        "SUPERGIANT_INSTANCES",
        "PASSWORD",
        "MODE",
    ]
    values = {entry["name"]: entry for entry in env}
    assert values["SUPERGIANT_INSTANCES"]["value"] == "2"
    assert values["PASSWORD"] == {
        "name": "PASSWORD",
        "valueFrom": {"secretKeyRef": {"name": "db.password", "key": "value"}},
    }


def test_a_user_may_set_what_we_would_have_set() -> None:
    env = container(env={"SUPERGIANT_APP": "mine"})["env"]
    assert [entry["value"] for entry in env if entry["name"] == "SUPERGIANT_APP"] == ["mine"]


@pytest.mark.parametrize(
    ("cpu", "memory", "limits"),
    [
        ({"request": "250m"}, {"request": "512Mi"}, {"memory": "512Mi"}),
        (
            {"request": "250m", "limit": "1"},
            {"request": "512Mi", "limit": "1Gi"},
            {"memory": "1Gi", "cpu": "1"},
        ),
    ],
)
def test_memory_is_always_limited_and_cpu_only_if_asked(
    cpu: dict[str, str], memory: dict[str, str], limits: dict[str, str]
) -> None:
    resources = container(cpu=cpu, memory=memory)["resources"]
    assert resources == {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": limits}


@pytest.mark.parametrize(
    ("ready", "probe"),
    [
        ({"exec": ["redis-cli", "ping"]}, {"exec": {"command": ["redis-cli", "ping"]}}),
        ({"tcp": 6379}, {"tcpSocket": {"port": 6379}}),
        ({"http": ":8080/healthz"}, {"httpGet": {"port": 8080, "path": "/healthz"}}),
    ],
)
def test_readiness_is_asked_the_way_the_document_says(ready: dict[str, Any], probe: dict[str, Any]) -> None:
    made = container(ready={**ready, "period": "10s", "timeout": "2s"})["readinessProbe"]
    assert made == {**probe, "periodSeconds": 10, "timeoutSeconds": 2}


def test_an_address_for_all_one_for_clients_and_one_for_each_instance() -> None:
    objects = by_kind()
    assert objects["Service", "db-all"]["spec"]["clusterIP"] == "None"
    assert objects["Service", "db-all"]["spec"]["publishNotReadyAddresses"] is True
    assert "clusterIP" not in objects["Service", "db"]["spec"]
    assert objects["Service", "db"]["spec"]["ports"] == [
        {"name": "redis", "port": 6379, "protocol": "TCP", "targetPort": 6379}
    ]
    own = manifests.instance_service(ask.of_instance(1))
    assert own["metadata"]["name"] == "db-1"
    assert own["spec"]["selector"]["supergiant.io/instance"] == "1"
    assert "supergiant.io/instance" not in objects["Service", "db"]["spec"]["selector"]


def test_a_component_without_ports_has_no_address_for_clients() -> None:
    document = ask.component().model_dump(exclude_none=True)["containers"][0]
    objects = by_kind(containers=[{**document, "ports": []}])
    assert ("Service", "db") not in objects
    assert objects["NetworkPolicy", "db"]["spec"]["ingress"] == []


def test_only_the_app_reaches_its_ports_and_one_instance_may_be_down() -> None:
    objects = by_kind()
    assert objects["NetworkPolicy", "db"]["spec"]["ingress"] == [
        {"from": [{"podSelector": {}}], "ports": [{"port": 6379, "protocol": "TCP"}]}
    ]
    assert objects["PodDisruptionBudget", "db"]["spec"]["maxUnavailable"] == 1


def test_a_disk_is_bound_before_anybody_else_can_take_it() -> None:
    volume = manifests.persistent_volume(ask.bind(1), "default", "ebs.csi.aws.com", "gp3")
    claim = manifests.claim(ask.bind(1), "default", "gp3")
    assert volume["spec"]["claimRef"] == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": "shop",
        "name": claim["metadata"]["name"],
    }
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"]
    assert volume["spec"]["storageClassName"] == claim["spec"]["storageClassName"] == "gp3"
    assert volume["spec"]["capacity"] == claim["spec"]["resources"]["requests"] == {"storage": "10Gi"}
    assert volume["spec"]["csi"] == {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-1", "fsType": "ext4"}
    zone = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]
    assert zone["values"] == ["us-east-1b"]
