"""Microsoft's national clouds: the hosts that issue tokens and serve Graph in each.

https://learn.microsoft.com/graph/deployments
https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud (both checked 2026-11)
A token of one cloud is worth nothing in another, so both hosts are always chosen together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

CloudName = Literal["global", "us-gov-l4", "us-gov-l5", "china"]


@dataclass(frozen=True, slots=True)
class Cloud:
    """One deployment of Microsoft 365; hosts without scheme."""

    name: CloudName
    authority_host: str
    graph_host: str


GLOBAL = Cloud(name="global", authority_host="login.microsoftonline.com", graph_host="graph.microsoft.com")
US_GOV_L4 = Cloud(name="us-gov-l4", authority_host="login.microsoftonline.us", graph_host="graph.microsoft.us")
US_GOV_L5 = Cloud(name="us-gov-l5", authority_host="login.microsoftonline.us", graph_host="dod-graph.microsoft.us")
# The Graph page still shows login.chinacloudapi.cn; msal 1.39 lists it as deprecated in favour of this one.
CHINA = Cloud(
    name="china",
    authority_host="login.partner.microsoftonline.cn",
    graph_host="microsoftgraph.chinacloudapi.cn",
)

CLOUDS: Mapping[CloudName, Cloud] = MappingProxyType(
    {cloud.name: cloud for cloud in (GLOBAL, US_GOV_L4, US_GOV_L5, CHINA)}
)
