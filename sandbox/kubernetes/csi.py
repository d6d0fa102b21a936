"""A stand-in for the EBS CSI driver's controller: attaches volumes through the simulated EC2.

Run by the supervisor as `python -m sandbox.kubernetes.csi --socket S`; called by the real
external-attacher and external-resizer, which cannot tell it from the driver of a real cluster.
"""

import argparse
import logging
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import wrappers_pb2

from sandbox.kubernetes import rpc
from sandbox.kubernetes.attachments import Attachments
from sandbox.kubernetes.cloud import ec2_client, start_logging
from sandbox.kubernetes.node_objects import DRIVER
from sandbox.kubernetes.rpc import demand, service
from sandbox.kubernetes.stubs import csi_pb2
from sandbox.nodes.volumes import GIB, VolumeFiles

# The generated module makes its classes while it is imported, where no type checker can see them.
csi: Any = csi_pb2
_PARALLEL_CALLS = 64

log = logging.getLogger("csi")


class Driver:
    """The calls that the side-cars make."""

    def __init__(self, attachments: Attachments) -> None:
        self._attachments = attachments

    def services(self) -> list[grpc.GenericRpcHandler]:
        """The gRPC services, put together by hand so that no generated server code is needed."""
        identity = {
            "GetPluginInfo": (csi.GetPluginInfoRequest, self._info),
            "GetPluginCapabilities": (csi.GetPluginCapabilitiesRequest, self._plugin_capabilities),
            "Probe": (csi.ProbeRequest, self._probe),
        }
        controller = {
            "ControllerGetCapabilities": (csi.ControllerGetCapabilitiesRequest, self._capabilities),
            "ControllerPublishVolume": (csi.ControllerPublishVolumeRequest, self._publish),
            "ControllerUnpublishVolume": (csi.ControllerUnpublishVolumeRequest, self._unpublish),
            "ControllerExpandVolume": (csi.ControllerExpandVolumeRequest, self._expand),
            "ValidateVolumeCapabilities": (csi.ValidateVolumeCapabilitiesRequest, self._validate),
        }
        return [service("csi.v1.Identity", identity), service("csi.v1.Controller", controller)]

    def _info(self, _request: Any, _seconds: float) -> Any:
        return csi.GetPluginInfoResponse(name=DRIVER, vendor_version="sandbox")

    def _plugin_capabilities(self, _request: Any, _seconds: float) -> Any:
        kind = csi.PluginCapability
        return csi.GetPluginCapabilitiesResponse(
            capabilities=[
                kind(service=kind.Service(type=kind.Service.CONTROLLER_SERVICE)),
                kind(service=kind.Service(type=kind.Service.VOLUME_ACCESSIBILITY_CONSTRAINTS)),
                kind(volume_expansion=kind.VolumeExpansion(type=kind.VolumeExpansion.ONLINE)),
            ]
        )

    def _probe(self, _request: Any, _seconds: float) -> Any:
        return csi.ProbeResponse(ready=wrappers_pb2.BoolValue(value=True))

    def _capabilities(self, _request: Any, _seconds: float) -> Any:
        kind = csi.ControllerServiceCapability
        offered = (kind.RPC.PUBLISH_UNPUBLISH_VOLUME, kind.RPC.EXPAND_VOLUME)
        return csi.ControllerGetCapabilitiesResponse(
            capabilities=[kind(rpc=kind.RPC(type=name)) for name in offered]
        )

    def _publish(self, request: Any, seconds: float) -> Any:
        demand(volume_id=request.volume_id, node_id=request.node_id)
        device = self._attachments.attach(request.volume_id, request.node_id, seconds)
        return csi.ControllerPublishVolumeResponse(publish_context={"devicePath": device})

    def _unpublish(self, request: Any, seconds: float) -> Any:
        demand(volume_id=request.volume_id)
        self._attachments.detach(request.volume_id, request.node_id or None, seconds)
        return csi.ControllerUnpublishVolumeResponse()

    def _expand(self, request: Any, seconds: float) -> Any:
        demand(volume_id=request.volume_id)
        wanted_gib = -(-request.capacity_range.required_bytes // GIB)
        size_gib = self._attachments.grow(request.volume_id, wanted_gib, seconds)
        return csi.ControllerExpandVolumeResponse(capacity_bytes=size_gib * GIB, node_expansion_required=True)

    def _validate(self, request: Any, _seconds: float) -> Any:
        demand(volume_id=request.volume_id)
        self._attachments.must_exist(request.volume_id)
        confirmed = csi.ValidateVolumeCapabilitiesResponse.Confirmed(
            volume_capabilities=request.volume_capabilities
        )
        return csi.ValidateVolumeCapabilitiesResponse(confirmed=confirmed)


def serve(socket: Path, driver: Driver) -> grpc.Server:
    """Serve on a socket that only the owner may use."""
    return rpc.serve(socket, driver.services(), _PARALLEL_CALLS)


def main() -> None:
    """Serve until asked to end."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--socket", type=Path, required=True, help="path of the CSI socket")
    parser.add_argument("--volumes", type=Path, required=True, help="folder of the volumes of real nodes")
    arguments = parser.parse_args()
    start_logging()
    ec2 = ec2_client(parallel_calls=_PARALLEL_CALLS)
    driver = Driver(Attachments(ec2, VolumeFiles(arguments.volumes).released))
    server = serve(arguments.socket, driver)
    log.info("serving on %s", arguments.socket)
    rpc.until_asked_to_end()
    server.stop(grace=1).wait()


if __name__ == "__main__":
    main()
