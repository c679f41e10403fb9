"""Configurations of the stand-alone service, and the list of every settings section."""

from __future__ import annotations

from typing import Any, ClassVar

from .audit.settings import AuditSettings
from .auth.invitations.settings_invitations import InvitationSettings
from .auth.mfa.settings_mfa import MfaSettings
from .auth.passwords.settings_password import PasswordSettings
from .auth.recovery.settings_recovery import RecoverySettings
from .auth.settings import AuthSettings
from .auth.sign_in.settings_sign_in import SignInSettings
from .auth.sso.settings_sso import SsoSettings
from .auth.webauthn.settings_webauthn import WebauthnSettings
from .core.runtime import CoreSettings
from .core.settings import Section
from .notify.settings import NotifySettings
from .risk.settings import RiskSettings
from .tenancy.settings import TenancySettings

SECTIONS: tuple[type[Section], ...] = (
    CoreSettings,
    AuthSettings,
    PasswordSettings,
    MfaSettings,
    WebauthnSettings,
    SignInSettings,
    RecoverySettings,
    InvitationSettings,
    SsoSettings,
    RiskSettings,
    NotifySettings,
    TenancySettings,
    AuditSettings,
)


class Production:
    """Defaults that are safe on the open network."""

    IAM_ENV = "production"
    SESSION_COOKIE_SECURE = True
    SESSION_COOKIE_HTTPONLY = True
    SESSION_COOKIE_SAMESITE = "Lax"
    SESSION_COOKIE_NAME = "__Host-iam_flask"
    PREFERRED_URL_SCHEME = "https"
    MAX_CONTENT_LENGTH = 1024 * 1024
    MAX_FORM_MEMORY_SIZE = 256 * 1024
    MAX_FORM_PARTS = 200
    PROPAGATE_EXCEPTIONS = False
    TRAP_HTTP_EXCEPTIONS = False
    ENGINE_OPTIONS: ClassVar[dict[str, Any]] = {
        "pool_pre_ping": True,
        "pool_recycle": 1800,
        "pool_size": 10,
        "max_overflow": 30,
        "pool_timeout": 10,
    }


class Development(Production):
    """Plain HTTP on this machine; derived keys are allowed, with a warning."""

    IAM_ENV = "development"
    SESSION_COOKIE_SECURE = False
    SESSION_COOKIE_NAME = "iam_flask"
    PREFERRED_URL_SCHEME = "http"


class Demo(Development):
    """The seeded demonstration: loopback only, messages kept for the outbox page."""

    IAM_ENV = "demo"
    IAM_DEMO = True
    IAM_TENANT_PATH = "/t"
    IAM_SUPER_ADMIN_NETWORKS = ("127.0.0.0/8", "::1/128")
    SIGN_IN_LINK_ENABLED = True
    SIGN_IN_CODE_EMAIL_ENABLED = True


class Testing(Development):
    """For the test suite: errors are raised, not rendered."""

    IAM_ENV = "testing"
    TESTING = True


CONFIGURATIONS = {
    "production": Production,
    "development": Development,
    "demo": Demo,
    "testing": Testing,
}
