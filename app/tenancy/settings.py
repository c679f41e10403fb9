"""Settings of tenancy: the tenant that exists without anybody asking for one."""

from __future__ import annotations

from typing import ClassVar

from ..core.settings import Section, setting


class TenancySettings(Section):
    """The default tenant."""

    title: ClassVar[str] = "Tenants"

    IAM_DEFAULT_TENANT: str = setting(
        "default",
        "Slug of the tenant that requests belong to where nothing else decides.",
        pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$",
    )
    IAM_DEFAULT_TENANT_NAME: str = setting(
        "Default", "Name of that tenant when it is created.", min_length=1, max_length=120
    )
