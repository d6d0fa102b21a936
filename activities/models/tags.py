"""The tags that cloud resources carry, by which they are found, guarded and swept; used by planning, by the
activities that touch a cloud, and in the IAM policy."""

CLUSTER = "supergiant.io/cluster"
TENANT = "supergiant.io/tenant"
APP = "supergiant.io/app"
COMPONENT = "supergiant.io/component"
INSTANCE = "supergiant.io/instance"
VOLUME = "supergiant.io/volume"

#: Who made it: with the cluster, the key that a disk is looked up by.
OPERATION = "supergiant.io/operation"
STEP = "supergiant.io/step"
#: Which try of that step made it; absent for the first.
TRY = "supergiant.io/try"

#: ISO time until which a disk that is no longer used is kept.
KEEP_UNTIL = "supergiant.io/keep-until"
