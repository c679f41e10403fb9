"""Settings of throttling and devices."""

from __future__ import annotations

from typing import ClassVar

from ..core.settings import AT_MOST, Section, setting


class RiskSettings(Section):
    """How many attempts are allowed, and how the delay grows."""

    title: ClassVar[str] = "Throttling and devices"

    MAX_LOGIN_ATTEMPTS: int = setting(
        5, "Failures in a row on one account before delays start.", ge=1, le=20
    )
    LOCKOUT_DURATION_MINUTES: int = setting(
        30, "Longest delay between attempts on one account, in minutes.", ge=1, le=1440
    )
    LOGIN_DELAY_SECONDS: int = setting(
        30, "First delay once delays start, in seconds; it doubles with each failure.", ge=1, le=600
    )
    LOGIN_FAILURES_PER_IP: int = setting(
        120, "Failed sign-ins from one IPv4 address or IPv6 /64 in 15 minutes.", ge=5
    )
    LOGIN_FAILURES_PER_TENANT: int = setting(
        3000, "Failed sign-ins in one tenant in 15 minutes; known devices are exempt.", ge=50
    )
    LOGIN_FAILURES_GLOBAL: int = setting(
        10000, "Failed sign-ins overall in 15 minutes; known devices are exempt.", ge=50
    )
    RESET_REQUESTS_PER_ACCOUNT: int = setting(
        5, "Reset links for one account in an hour; more are dropped silently.", ge=1
    )
    RESET_REQUESTS_PER_IP: int = setting(30, "Reset requests from one address in an hour.", ge=1)
    DEVICE_COOKIE_DAYS: int = setting(
        365, "How long a browser is remembered as a device, in days.", ge=1, le=400
    )
    DEVICE_TRUST_DAYS: int = setting(
        0,
        "Days a person may skip the second step for on a device of theirs, where their policy "
        "does not require it; 0 never (NIST SP 800-63B-4 5.1).",
        per_tenant=True,
        floor=AT_MOST,
        ge=0,
        le=90,
    )
    RATE_LIMIT_SIGN_IN: str = setting(
        "300 per minute", "Requests to each sign-in endpoint from one address (Flask-Limiter form)."
    )
