"""What the real nodes of one sandbox have in common: programs, ports, credentials, network."""

from dataclasses import dataclass
from pathlib import Path

from sandbox.kubernetes import control_plane
from sandbox.layout import Layout, Memory
from sandbox.nodes.ec2 import Ec2, Instance
from sandbox.nodes.plan import NodePlan
from sandbox.services import PROFILE, REGION


@dataclass(frozen=True)
class Setting:
    """Taken from what the sandbox remembers."""

    octet: int
    kube_port: int
    aws_port: int
    aws_credentials: Path
    certificates: Path
    kubelet: str
    kube_proxy: str

    def ec2(self) -> Ec2:
        """The simulated EC2 as the machine reaches it."""
        return Ec2("127.0.0.1", self.aws_port, self.aws_credentials, PROFILE, REGION)

    def plan(self, layout: Layout, instance: Instance, number: int, most_volumes: int) -> NodePlan:
        """The plan of one node."""
        return NodePlan(
            number=number,
            name=instance.name,
            instance_id=instance.id,
            instance_type=instance.type,
            zone=instance.zone,
            most_volumes=most_volumes,
            octet=self.octet,
            folder=str(layout.nodes / str(number)),
            volumes=str(layout.volumes),
            images=str(layout.images),
            logs=str(layout.logs),
            certificates=str(self.certificates),
            kube_port=self.kube_port,
            aws_port=self.aws_port,
            aws_credentials=str(self.aws_credentials),
            aws_profile=PROFILE,
            region=REGION,
            kubelet=self.kubelet,
            kube_proxy=self.kube_proxy,
        )


def setting_of(layout: Layout, memory: Memory) -> Setting:
    """The setting of a sandbox that has real nodes."""
    return Setting(
        octet=memory.network,
        kube_port=memory.ports["kube-apiserver"],
        aws_port=memory.ports["aws"],
        aws_credentials=layout.aws_credentials,
        certificates=control_plane.certificates(layout),
        kubelet=memory.programs["kubelet"],
        kube_proxy=memory.programs["kube-proxy"],
    )
