"""The files by which the product and its user find a sandbox: credentials and settings.

Written by `sandbox.lifecycle`; the product reads them as it would read those of a real cloud.
"""

import secrets
import string

from sandbox.layout import Layout, Memory, write_private
from sandbox.nodes.configuration import CLUSTER_DOMAIN
from sandbox.nodes.network import Network
from sandbox.services import ACCOUNT, PROFILE, REGION, ZONES


def write_credentials(layout: Layout) -> None:
    """A key pair of this sandbox's own, made once."""
    if layout.aws_credentials.exists():
        return
    key_id = "AKIA" + "".join(secrets.choice(string.ascii_uppercase + "234567") for _ in range(16))
    text = f"[{PROFILE}]\naws_access_key_id = {key_id}\naws_secret_access_key = {secrets.token_urlsafe(30)}\n"
    write_private(layout.aws_credentials, text)


def write_settings(layout: Layout, memory: Memory) -> None:
    """The product's settings file."""
    ports = memory.ports
    zones = ", ".join(f'"{zone}"' for zone in ZONES)
    write_private(
        layout.settings,
        f"""\
[temporal]
address = "127.0.0.1:{ports["temporal"]}"
namespace = "default"

[clusters.sandbox]
cloud = "aws"
kubeconfig = "{_quoted(str(layout.kubeconfig))}"
account = "{ACCOUNT}"
region = "{REGION}"
zones = [{zones}]
endpoint_url = "http://127.0.0.1:{ports["aws"]}"
credentials_file = "{_quoted(str(layout.aws_credentials))}"
profile = "{PROFILE}"

[worker]
metrics_address = "127.0.0.1:{ports["worker-metrics"]}"
health_address = "127.0.0.1:{ports["worker-health"]}"
""",
    )


def write_name_server(layout: Layout, memory: Memory) -> None:
    """The name server answers the pods of real nodes, on the bridge alone."""
    network = Network(memory.network)
    write_private(
        layout.name_server,
        f"""\
{CLUSTER_DOMAIN}:53 {{
  bind {network.host}
  acl {{
    allow net {network.inside}
    block
  }}
  errors
  kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
    kubeconfig "{_quoted(str(layout.kubeconfig))}"
    ttl 2
  }}
}}
""",
    )


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
