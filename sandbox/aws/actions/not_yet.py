"""What the vendor can do with machines and disks and this simulator cannot yet. Refused by name, because moto would
answer from its own, empty, idea of them; a file that announces the action takes it off this list."""

from __future__ import annotations

from sandbox.aws.registry import refuse

refuse(
    "The sandbox does not simulate snapshots of volumes yet",
    "CopySnapshot",
    "CreateImage",
    "CreateSnapshot",
    "CreateSnapshots",
    "DeleteSnapshot",
    "EnableFastSnapshotRestores",
    "ModifySnapshotAttribute",
)
refuse("The sandbox does not simulate copies of volumes yet", "CopyVolumes")
refuse(
    "The sandbox does not simulate the input and output of volumes",
    "EnableVolumeIO",
    "ModifyVolumeAttribute",
)
refuse(
    "The sandbox starts machines by RunInstances only",
    "CreateFleet",
    "RequestSpotFleet",
    "RequestSpotInstances",
    "RunScheduledInstances",
)
refuse(
    "The sandbox does not simulate this change of a machine",
    "AttachNetworkInterface",
    "CreateReplaceRootVolumeTask",
    "DetachNetworkInterface",
    "ModifyInstancePlacement",
    "ModifyPrivateDnsNameOptions",
)
