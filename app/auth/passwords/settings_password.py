"""Settings of passwords: cost of a hash, policy, breach check, lifetimes of links.

Owns the declarations and the production checks `iam.E1xx` and `iam.W1xx`.
Figures follow NIST SP 800-63B-4 3.1.1.2, ASVS 5.0 6.2 and OWASP Password Storage.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ...core.checks import Finding
from ...core.hashing import MAX_CODE_POINTS, PasswordHasher, meets_floor
from ...core.i18n import _
from ...core.settings import AT_LEAST, ONLY_ON, CommaList, Section, setting

_LOWEST_LENGTH = 8
_LENGTH_ALONE = 15
_PEPPER_LENGTH = 32


class PasswordSettings(Section):
    """Everything about passwords that an operator may choose."""

    title: ClassVar[str] = "Passwords"

    ARGON2_TIME_COST: int = setting(2, "Passes over memory of one argon2id hash.", ge=1, le=64)
    ARGON2_MEMORY_KIB: int = setting(
        19456, "Memory of one argon2id hash, in KiB.", ge=8, le=1024 * 1024
    )
    ARGON2_PARALLELISM: int = setting(1, "Lanes (threads) of one argon2id hash.", ge=1, le=64)
    PASSWORD_HASH_MAX_PARALLEL: int = setting(
        0, "Hashes running at once in each process; 0 means one per CPU.", ge=0
    )
    PASSWORD_HASH_MAX_QUEUE: int = setting(
        200, "Callers that may wait for a hash; more get 503 with Retry-After.", ge=0
    )
    PASSWORD_HASH_QUEUE_TIMEOUT_SECONDS: float = setting(
        10.0, "Longest wait for a hash before 503, in seconds.", gt=0, le=60
    )
    PASSWORD_PEPPER: CommaList = setting(
        (),
        "Secrets mixed into every hash, newest first; keep each until no hash names it.",
        secret=True,
    )
    PASSWORD_MIN_LENGTH: int = setting(
        15,
        "Fewest characters where the password alone may sign in.",
        per_tenant=True,
        floor=AT_LEAST,
        ge=1,
        le=MAX_CODE_POINTS,
    )
    PASSWORD_MIN_LENGTH_WITH_MFA: int = setting(
        12,
        "Fewest characters where MFA is always required.",
        per_tenant=True,
        floor=AT_LEAST,
        ge=1,
        le=MAX_CODE_POINTS,
    )
    PASSWORD_MAX_LENGTH: int = setting(
        128, "Most characters; at least 64 by NIST.", ge=64, le=MAX_CODE_POINTS
    )
    PASSWORD_MIN_SCORE: int = setting(
        3, "Lowest zxcvbn score, from 0 to 4.", per_tenant=True, floor=AT_LEAST, ge=0, le=4
    )
    PASSWORD_HISTORY: int = setting(
        5,
        "How many former passwords may not be used again.",
        per_tenant=True,
        floor=AT_LEAST,
        ge=0,
        le=24,
    )
    PASSWORD_MAX_AGE_DAYS: int = setting(
        0, "Days until a password must be changed; 0 means never, as NIST asks.", ge=0
    )
    PASSWORD_REQUIRE_UPPERCASE: bool = setting(
        False, "Demand an upper-case letter; NIST forbids such rules."
    )
    PASSWORD_REQUIRE_LOWERCASE: bool = setting(
        False, "Demand a lower-case letter; NIST forbids such rules."
    )
    PASSWORD_REQUIRE_DIGIT: bool = setting(False, "Demand a digit; NIST forbids such rules.")
    PASSWORD_REQUIRE_SYMBOL: bool = setting(False, "Demand a symbol; NIST forbids such rules.")
    PASSWORD_BREACH_CHECK: bool = setting(
        True,
        "Look new passwords up in a breach corpus; only five hex digits of a hash leave.",
        per_tenant=True,
        floor=ONLY_ON,
    )
    PASSWORD_BREACH_CHECK_URL: str = setting(
        "https://api.pwnedpasswords.com", "Base address of the range service or of your mirror."
    )
    PASSWORD_BREACH_CHECK_ALLOW_PRIVATE: bool = setting(
        False, "Let the mirror live at a private address."
    )
    PASSWORD_RESET_MINUTES: int = setting(
        60, "Minutes for which a reset link works.", ge=5, le=24 * 60
    )
    PASSWORD_SET_LINK_HOURS: int = setting(
        72, "Hours for which a link to set the first password works.", ge=1, le=30 * 24
    )

    def contradiction(self) -> tuple[str, str] | None:
        """Return the least length where it is greater than the most."""
        for name in ("PASSWORD_MIN_LENGTH", "PASSWORD_MIN_LENGTH_WITH_MFA"):
            if getattr(self, name) > self.PASSWORD_MAX_LENGTH:
                most = self.PASSWORD_MAX_LENGTH
                return name, _("Passwords here have at most %(most)s characters.", most=most)
        return None

    def composition_rules(self) -> bool:
        """Return whether any rule about kinds of characters is on."""
        return (
            self.PASSWORD_REQUIRE_UPPERCASE
            or self.PASSWORD_REQUIRE_LOWERCASE
            or self.PASSWORD_REQUIRE_DIGIT
            or self.PASSWORD_REQUIRE_SYMBOL
        )

    def hasher(self) -> PasswordHasher:
        """Return a hasher as configured; make one per process. Raises Misconfigured."""
        return PasswordHasher(
            time_cost=self.ARGON2_TIME_COST,
            memory_kib=self.ARGON2_MEMORY_KIB,
            parallelism=self.ARGON2_PARALLELISM,
            max_parallel=self.PASSWORD_HASH_MAX_PARALLEL,
            max_queue=self.PASSWORD_HASH_MAX_QUEUE,
            queue_timeout_seconds=self.PASSWORD_HASH_QUEUE_TIMEOUT_SECONDS,
            pepper=self.PASSWORD_PEPPER,
        )


def check(state: Any) -> Iterator[Finding]:
    """Yield the findings for a loaded extension (a `core.checks.Check`)."""
    yield from findings(state.settings[PasswordSettings])


def findings(settings: PasswordSettings) -> Iterator[Finding]:
    """Yield what is wrong or unwise in `settings` for production."""
    yield from _hash_findings(settings)
    yield from _length_findings(settings)
    yield from _policy_findings(settings)
    yield from _breach_findings(settings)


def _hash_findings(settings: PasswordSettings) -> Iterator[Finding]:
    if not meets_floor(time_cost=settings.ARGON2_TIME_COST, memory_kib=settings.ARGON2_MEMORY_KIB):
        yield Finding(
            "iam.E101",
            "ARGON2_* is below the floor m=19456, t=2, p=1 and its equals "
            "(47104/1, 12288/3, 9216/4, 7168/5); see: flask iam hash calibrate",
        )
    if any(len(pepper) < _PEPPER_LENGTH for pepper in settings.PASSWORD_PEPPER):
        yield Finding("iam.E102", "each PASSWORD_PEPPER needs 32 characters or more")


def _length_findings(settings: PasswordSettings) -> Iterator[Finding]:
    lengths = (settings.PASSWORD_MIN_LENGTH, settings.PASSWORD_MIN_LENGTH_WITH_MFA)
    if min(lengths) < _LOWEST_LENGTH:
        yield Finding("iam.E103", "PASSWORD_MIN_LENGTH and …_WITH_MFA must be 8 or more")
    elif settings.PASSWORD_MIN_LENGTH < _LENGTH_ALONE:
        yield Finding(
            "iam.W101", "PASSWORD_MIN_LENGTH below 15 is for accounts with MFA (NIST 3.1.1.2)"
        )
    if max(lengths) > settings.PASSWORD_MAX_LENGTH:
        yield Finding("iam.E104", "PASSWORD_MIN_LENGTH is greater than PASSWORD_MAX_LENGTH")


def _policy_findings(settings: PasswordSettings) -> Iterator[Finding]:
    if settings.composition_rules():
        yield Finding("iam.W102", "PASSWORD_REQUIRE_* is on, against NIST 3.1.1.2, ASVS 6.2.5")
    if settings.PASSWORD_MAX_AGE_DAYS:
        yield Finding("iam.W103", "PASSWORD_MAX_AGE_DAYS is on, against NIST 3.1.1.2, ASVS 6.2.10")


def _breach_findings(settings: PasswordSettings) -> Iterator[Finding]:
    if not settings.PASSWORD_BREACH_CHECK:
        yield Finding("iam.W104", "PASSWORD_BREACH_CHECK is off (ASVS 6.2.12)")
        return
    scheme = urlsplit(settings.PASSWORD_BREACH_CHECK_URL).scheme
    if scheme == "http" and settings.PASSWORD_BREACH_CHECK_ALLOW_PRIVATE:
        yield Finding("iam.W105", "PASSWORD_BREACH_CHECK_URL is not encrypted")
    elif scheme != "https":
        yield Finding("iam.E105", "PASSWORD_BREACH_CHECK_URL must begin with https://")
