"""The node side of the stand-in CSI driver: makes a disk of a volume that EC2 says is attached to this node.

Run on each real node by its first process as `python -m sandbox.nodes.csi_node PLAN`; called by its kubelet, which
it tells of itself as the usual registrar would.
"""

import logging
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import wrappers_pb2

from sandbox.kubernetes import rpc
from sandbox.kubernetes.node_objects import DRIVER, DRIVER_ZONE
from sandbox.kubernetes.rpc import Refused, demand, service
from sandbox.kubernetes.stubs import csi_pb2, pluginregistration_pb2
from sandbox.nodes import filesystems, loops
from sandbox.nodes.configuration import CSI_REGISTRATION, CSI_SOCKET
from sandbox.nodes.ec2 import Ec2, Ec2Error, Volume
from sandbox.nodes.plan import NodePlan, read_plan
from sandbox.nodes.volumes import GIB, VolumeFiles

csi: Any = csi_pb2
registration: Any = pluginregistration_pb2
_PARALLEL_CALLS = 8
# Held by whoever gives a name in /dev or takes it away.
_names = threading.Lock()

log = logging.getLogger("csi")


class NodeDriver:
    """The calls that a kubelet makes."""

    def __init__(self, plan: NodePlan, ec2: Ec2) -> None:
        self._plan = plan
        self._ec2 = ec2
        self._files = VolumeFiles(Path(plan.volumes))

    def services(self) -> list[grpc.GenericRpcHandler]:
        """Identity and node service."""
        identity = {
            "GetPluginInfo": (csi.GetPluginInfoRequest, self._info),
            "GetPluginCapabilities": (csi.GetPluginCapabilitiesRequest, self._plugin_capabilities),
            "Probe": (csi.ProbeRequest, self._probe),
        }
        node = {
            "NodeExpandVolume": (csi.NodeExpandVolumeRequest, self._expand),
            "NodeGetCapabilities": (csi.NodeGetCapabilitiesRequest, self._capabilities),
            "NodeGetInfo": (csi.NodeGetInfoRequest, self._node_info),
            "NodeGetVolumeStats": (csi.NodeGetVolumeStatsRequest, self._stats),
            "NodePublishVolume": (csi.NodePublishVolumeRequest, self._publish),
            "NodeStageVolume": (csi.NodeStageVolumeRequest, self._stage),
            "NodeUnpublishVolume": (csi.NodeUnpublishVolumeRequest, self._unpublish),
            "NodeUnstageVolume": (csi.NodeUnstageVolumeRequest, self._unstage),
        }
        return [service("csi.v1.Identity", identity), service("csi.v1.Node", node)]

    def _stage(self, request: Any, _seconds: float) -> Any:
        demand(volume_id=request.volume_id, staging_target_path=request.staging_target_path)
        if request.volume_capability.HasField("block"):
            raise Refused(
                "INVALID_ARGUMENT", "the sandbox's nodes mount volumes; they do not hand out raw disks"
            )
        volume_id, target = request.volume_id, Path(request.staging_target_path)
        with self._files.locked(volume_id):
            volume = self._must_be_attached(volume_id)
            if filesystems.mounted(target) is None:
                # EC2 may have been told to detach by force while another node still wrote.
                self._files.must_be_free(volume_id)
                image = self._files.ensure(volume_id, volume.size_gib)
                wanted = request.volume_capability.mount
                with loops.attached(image) as loop:
                    device = _device(volume.device, loop)
                    filesystems.mount_device(device, target, wanted.fs_type or "ext4", wanted.mount_flags)
            else:
                # Who mounted it may have been killed before he was done.
                filesystems.complete(target)
        return csi.NodeStageVolumeResponse()

    def _unstage(self, request: Any, _seconds: float) -> Any:
        demand(volume_id=request.volume_id, staging_target_path=request.staging_target_path)
        target = Path(request.staging_target_path)
        found = filesystems.mounted(target)
        if found is not None:
            # As long as it is mounted, its number cannot be another volume's.
            _remove_name(found)
        filesystems.unmount(target)
        # Only when the disk is gone may EC2 detach it.
        self._files.must_be_free(request.volume_id)
        return csi.NodeUnstageVolumeResponse()

    def _publish(self, request: Any, _seconds: float) -> Any:
        demand(volume_id=request.volume_id, target_path=request.target_path)
        demand(staging_target_path=request.staging_target_path)
        staged = Path(request.staging_target_path)
        if filesystems.mounted(staged) is None:
            raise Refused("FAILED_PRECONDITION", f"{request.volume_id} is not staged")
        filesystems.bind(staged, Path(request.target_path), request.readonly)
        return csi.NodePublishVolumeResponse()

    def _unpublish(self, request: Any, _seconds: float) -> Any:
        demand(volume_id=request.volume_id, target_path=request.target_path)
        filesystems.unmount(Path(request.target_path))
        with suppress(FileNotFoundError):
            Path(request.target_path).rmdir()
        return csi.NodeUnpublishVolumeResponse()

    def _expand(self, request: Any, _seconds: float) -> Any:
        demand(volume_id=request.volume_id, volume_path=request.volume_path)
        volume = self._must_be_attached(request.volume_id)
        image = self._files.ensure(request.volume_id, volume.size_gib)
        for loop in loops.of(image):
            loops.refresh_size(loop)
        filesystems.grow_mounted(Path(request.volume_path))
        return csi.NodeExpandVolumeResponse(capacity_bytes=volume.size_gib * GIB)

    def _stats(self, request: Any, _seconds: float) -> Any:
        demand(volume_id=request.volume_id, volume_path=request.volume_path)
        if filesystems.mounted(Path(request.volume_path)) is None:
            raise Refused("NOT_FOUND", f"nothing is mounted at {request.volume_path}")
        try:
            found = os.statvfs(request.volume_path)
        except OSError as error:
            raise Refused("NOT_FOUND", f"{request.volume_path}: {error.strerror}") from error
        size = found.f_frsize
        return csi.NodeGetVolumeStatsResponse(
            usage=[
                csi.VolumeUsage(
                    unit=csi.VolumeUsage.BYTES,
                    total=found.f_blocks * size,
                    available=found.f_bavail * size,
                    used=(found.f_blocks - found.f_bfree) * size,
                ),
                csi.VolumeUsage(
                    unit=csi.VolumeUsage.INODES,
                    total=found.f_files,
                    available=found.f_favail,
                    used=found.f_files - found.f_ffree,
                ),
            ]
        )

    def _must_be_attached(self, volume_id: str) -> Volume:
        try:
            volume = self._ec2.volume(volume_id)
        except Ec2Error as error:
            raise Refused("UNAVAILABLE", str(error)) from error
        if volume is None:
            raise Refused("NOT_FOUND", f"{volume_id} does not exist")
        if volume.instance_id != self._plan.instance_id:
            where = f"attached to {volume.instance_id}" if volume.instance_id else "not attached"
            raise Refused(
                "FAILED_PRECONDITION", f"{volume_id} is {where}, says EC2; this is {self._plan.instance_id}"
            )
        return volume

    def _info(self, _request: Any, _seconds: float) -> Any:
        return csi.GetPluginInfoResponse(name=DRIVER, vendor_version="sandbox")

    def _plugin_capabilities(self, _request: Any, _seconds: float) -> Any:
        return csi.GetPluginCapabilitiesResponse()

    def _probe(self, _request: Any, _seconds: float) -> Any:
        return csi.ProbeResponse(ready=wrappers_pb2.BoolValue(value=True))

    def _capabilities(self, _request: Any, _seconds: float) -> Any:
        kind = csi.NodeServiceCapability
        offered = (kind.RPC.STAGE_UNSTAGE_VOLUME, kind.RPC.EXPAND_VOLUME, kind.RPC.GET_VOLUME_STATS)
        return csi.NodeGetCapabilitiesResponse(
            capabilities=[kind(rpc=kind.RPC(type=name)) for name in offered]
        )

    def _node_info(self, _request: Any, _seconds: float) -> Any:
        return csi.NodeGetInfoResponse(
            node_id=self._plan.instance_id,
            max_volumes_per_node=self._plan.most_volumes,
            accessible_topology=csi.Topology(segments={DRIVER_ZONE: self._plan.zone}),
        )


class Registrar:
    """Tells the kubelet of the driver, each time it asks."""

    def services(self) -> list[grpc.GenericRpcHandler]:
        """The kubelet's registration service."""
        methods = {
            "GetInfo": (registration.InfoRequest, self._info),
            "NotifyRegistrationStatus": (registration.RegistrationStatus, self._notified),
        }
        return [service("pluginregistration.Registration", methods)]

    def _info(self, _request: Any, _seconds: float) -> Any:
        return registration.PluginInfo(
            type="CSIPlugin", name=DRIVER, endpoint=CSI_SOCKET, supported_versions=["1.0.0"]
        )

    def _notified(self, request: Any, _seconds: float) -> Any:
        log.info("registered with the kubelet: %s %s", request.plugin_registered, request.error)
        return registration.RegistrationStatusResponse()


def main() -> None:
    """Serve until the node ends."""
    plan = read_plan(Path(sys.argv[1]))
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    credentials = Path(plan.aws_credentials)
    ec2 = Ec2(plan.network.host, plan.aws_port, credentials, plan.aws_profile, plan.region)
    servers = [
        rpc.serve(Path(CSI_SOCKET), NodeDriver(plan, ec2).services(), _PARALLEL_CALLS),
        rpc.serve(Path(CSI_REGISTRATION), Registrar().services(), 1),
    ]
    log.info("serving on %s", CSI_SOCKET)
    rpc.until_asked_to_end()
    for server in servers:
        server.stop(grace=1).wait()


def _device(name: str, loop: loops.Loop) -> Path:
    """The disk under the name that EC2 gave it, in this node's own /dev."""
    path = Path("/dev") / Path(name).name
    with _names:
        path.unlink(missing_ok=True)
        os.mknod(path, 0o060600, loop.device)
    return path


def _remove_name(mount: filesystems.Mount) -> None:
    """Take the name of a disk away, unless it is another's: EC2 gives a name anew after a forced detach."""
    name = Path(mount.name)
    with _names, suppress(FileNotFoundError):
        if name.stat().st_rdev == mount.device:
            name.unlink()


if __name__ == "__main__":
    main()
