"""Settings of tenancy: the tenant that exists without anybody asking for one, and DNS."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator

from ..core.network.dns import server
from ..core.settings import CommaList, Section, setting


def _servers(value: tuple[str, ...]) -> tuple[str, ...]:
    for item in value:
        server(item)
    return value


Servers = Annotated[CommaList, AfterValidator(_servers)]


class TenancySettings(Section):
    """The default tenant, and where proofs of domains are looked up."""

    title: ClassVar[str] = "Tenants"

    IAM_DEFAULT_TENANT: str = setting(
        "default",
        "Slug of the tenant that requests belong to where nothing else decides.",
        pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$",
    )
    IAM_DEFAULT_TENANT_NAME: str = setting(
        "Default", "Name of that tenant when it is created.", min_length=1, max_length=120
    )
    IAM_TENANT_DOMAIN: str = setting(
        "",
        "Domain below which every tenant has a host name of its own, `<slug>.<domain>`; "
        "empty: none. In small letters.",
        pattern=r"^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*)?$",
        max_length=189,
    )
    IAM_TENANT_PATH: str = setting(
        "",
        "Path before the short name of a tenant, such as `/t` for `/t/<slug>`; empty: none.",
        pattern=r"^(?:/[a-z0-9](?:[a-z0-9-]{0,30}))?$",
    )
    IAM_DNS_SERVERS: Servers = setting(
        (),
        "Name servers that are asked for the proof of e-mail domains, each an IP address with or "
        "without a port; empty: those of the system.",
    )
