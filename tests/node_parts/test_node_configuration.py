"""The files that a node's programs are given, read as those programs read them."""

import json
import tomllib
from typing import Any

import pytest
import yaml

from sandbox.nodes import configuration
from sandbox.nodes.plan import NodePlan


@pytest.fixture
def kubelet(plan: NodePlan) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load(configuration.kubelet_yaml(plan))
    return settings


def flags(arguments: list[str]) -> dict[str, str]:
    return dict(argument.removeprefix("--").split("=", 1) for argument in arguments[1:])


def test_containerd_uses_the_image_that_is_loaded_and_the_networks_that_are_written() -> None:
    settings = tomllib.loads(configuration.containerd_toml())
    cri = settings["plugins"]["io.containerd.grpc.v1.cri"]
    assert settings["version"] == 2
    assert cri["sandbox_image"] == configuration.PAUSE_IMAGE
    assert cri["cni"]["conf_dir"] == configuration.CNI_FOLDER
    assert cri["restrict_oom_score_adj"] is True


def test_the_image_that_holds_a_pod_cannot_be_pulled_by_accident() -> None:
    tag = configuration.PAUSE_IMAGE.rpartition(":")[2]
    assert tag not in ("", "latest")
    assert configuration.PAUSE_IMAGE.split("/")[0] == "sandbox.supergiant"


def test_pods_get_addresses_of_their_own_node_and_keep_none_over_a_power_loss(plan: NodePlan) -> None:
    network = json.loads(configuration.cni_json(plan))
    bridge, ports = network["plugins"]
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.140.67.0/24"}]]
    assert bridge["ipam"]["dataDir"].startswith("/run/")
    # Pods are reached by their own addresses from everywhere, so none is hidden behind its node's.
    assert bridge["ipMasq"] is False
    assert ports["capabilities"] == {"portMappings": True}


def test_a_kubelet_keeps_to_its_own_cgroup(plan: NodePlan, kubelet: dict[str, Any]) -> None:
    assert kubelet["cgroupRoot"] == f"/{plan.network.cgroup(plan.number)}" == "/sg140-n3"
    assert kubelet["cgroupDriver"] == "cgroupfs"
    assert kubelet["failCgroupV1"] is False


def test_a_kubelet_answers_nobody_without_a_name(plan: NodePlan, kubelet: dict[str, Any]) -> None:
    assert kubelet["authentication"]["anonymous"] == {"enabled": False}
    assert kubelet["authentication"]["x509"]["clientCAFile"] == f"{plan.certificates}/ca.crt"
    assert kubelet["authorization"]["mode"] == "Webhook"
    # The port without any authentication is off unless it is named.
    assert not kubelet.get("readOnlyPort")


def test_a_node_tells_which_instance_it_is(kubelet: dict[str, Any]) -> None:
    assert kubelet["providerID"] == "aws:///us-east-1b/i-0123456789abcdef0"


def test_a_kubelet_never_removes_images_that_cannot_be_had_again(kubelet: dict[str, Any]) -> None:
    assert kubelet["imageGCHighThresholdPercent"] == 100


def test_pods_ask_the_sandboxs_own_name_server(plan: NodePlan, kubelet: dict[str, Any]) -> None:
    assert kubelet["clusterDNS"] == [plan.network.host]
    assert kubelet["clusterDomain"] == configuration.CLUSTER_DOMAIN
    assert kubelet["resolvConf"] == "/run/resolv.conf"


def test_all_paths_of_a_kubelet_are_places_that_a_node_has_to_itself(kubelet: dict[str, Any]) -> None:
    assert kubelet["containerRuntimeEndpoint"] == f"unix://{configuration.CONTAINERD_SOCKET}"
    for path in (configuration.CONTAINERD_SOCKET, configuration.CNI_FOLDER, kubelet["resolvConf"]):
        assert path.startswith("/run/")
    for path in (configuration.CSI_SOCKET, configuration.CSI_REGISTRATION, kubelet["volumePluginDir"]):
        assert path.startswith("/var/lib/kubelet/")


def test_a_node_reaches_the_api_server_over_the_bridge_and_holds_no_key_in_its_file(plan: NodePlan) -> None:
    settings = yaml.safe_load(configuration.kubeconfig(plan))
    (cluster,), (user,), (context,) = settings["clusters"], settings["users"], settings["contexts"]
    assert cluster["cluster"]["server"] == "https://10.140.0.1:31001"
    assert cluster["cluster"]["tls-server-name"] == "localhost"
    assert cluster["cluster"]["certificate-authority"] == f"{plan.certificates}/ca.crt"
    assert "insecure-skip-tls-verify" not in cluster["cluster"]
    assert set(user["user"]) == {"client-certificate", "client-key"}
    assert context["context"] == {"cluster": cluster["name"], "user": user["name"]}
    assert settings["current-context"] == context["name"]


def test_a_kubelet_is_told_its_names_address_and_labels(plan: NodePlan) -> None:
    arguments = configuration.kubelet_arguments(plan)
    told = flags(arguments)
    assert arguments[0] == plan.kubelet
    assert told["hostname-override"] == plan.name
    assert told["node-ip"] == plan.address
    assert told["kubeconfig"] == str(plan.node_kubeconfig)
    assert dict(label.split("=") for label in told["node-labels"].split(",")) == {
        "node.kubernetes.io/instance-type": "m7i.large",
        "topology.kubernetes.io/region": "us-east-1",
        "topology.kubernetes.io/zone": "us-east-1b",
    }


def test_kube_proxy_changes_nothing_that_belongs_to_the_whole_machine(plan: NodePlan) -> None:
    arguments = configuration.kube_proxy_arguments(plan)
    told = flags(arguments)
    assert arguments[0] == plan.kube_proxy
    assert told["cluster-cidr"] == "10.140.64.0/18"
    assert told["hostname-override"] == plan.name
    conntrack = {name: value for name, value in told.items() if name.startswith("conntrack-")}
    assert conntrack
    assert all(value.startswith("0") for value in conntrack.values())
