"""Every call that the AWS adapter may make, with the permission it needs: the adapter refuses any other, and
`permissions` writes the IAM policy from this table, so that the two cannot drift apart."""

from dataclasses import dataclass, field
from typing import Any

from activities.models.tags import CLUSTER, KEEP_UNTIL

#: Stands for the cluster's name until a policy is written for one.
ANY_CLUSTER = "<cluster>"
_VOLUMES = "arn:aws:ec2:*:*:volume/*"


@dataclass(frozen=True)
class Grant:
    """One statement of an IAM policy. `why` is its Sid, which takes letters and digits only."""

    why: str
    action: str
    resource: str
    condition: dict[str, dict[str, Any]] = field(default_factory=dict)


_OURS_AT_CREATION = {"StringEquals": {f"aws:RequestTag/{CLUSTER}": ANY_CLUSTER}}
_OURS = {"StringEquals": {f"aws:ResourceTag/{CLUSTER}": ANY_CLUSTER}}

#: Of our own disks, and nothing but the mark. Null refuses the call that names no key: DeleteTags would then
#: take away every tag, and ForAllValues is true of none.
_MARK_OF_OURS: dict[str, dict[str, Any]] = {
    **_OURS,
    "ForAllValues:StringEquals": {"aws:TagKeys": [KEEP_UNTIL]},
    "Null": {"aws:TagKeys": "false"},
}

#: By service and API action. GetCallerIdentity needs no permission: AWS answers it for any valid credentials.
ACTIONS: dict[str, tuple[Grant, ...]] = {
    "ec2:CreateTags": (
        Grant(
            "TagDisksAtCreation",
            "ec2:CreateTags",
            _VOLUMES,
            {"StringEquals": {"ec2:CreateAction": "CreateVolume"}},
        ),
        Grant("MarkDisksToBeKept", "ec2:CreateTags", _VOLUMES, _MARK_OF_OURS),
    ),
    "ec2:CreateVolume": (Grant("CreateDisks", "ec2:CreateVolume", _VOLUMES, _OURS_AT_CREATION),),
    "ec2:DeleteTags": (Grant("UnmarkDisks", "ec2:DeleteTags", _VOLUMES, _MARK_OF_OURS),),
    "ec2:DeleteVolume": (Grant("DeleteDisks", "ec2:DeleteVolume", _VOLUMES, _OURS),),
    "ec2:DescribeVolumes": (Grant("SeeDisks", "ec2:DescribeVolumes", "*"),),
    "sts:GetCallerIdentity": (),
}
