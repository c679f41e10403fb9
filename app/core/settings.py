"""Settings: declared once, typed, documented; read from the app, the environment or a file.

Each package declares a `Section`. The same declaration yields validation at
start, `.env.example` and `docs/reference/settings.md`. Precedence: `app.config`,
environment, `<NAME>_FILE` (a path whose content is the value), default.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, cast

from flask import current_app
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from .errors import Misconfigured

EXTENSION = "iam"
_NO_LIMIT = 10**9 - 1


def _split(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


CommaList = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""A list written with commas in the environment, any sequence of strings in `app.config`."""

AT_LEAST, AT_MOST, WITHIN, ONLY_ON, ONLY_OFF = (
    "at_least",
    "at_most",
    "within",
    "only_on",
    "only_off",
)
Floor = str | tuple[str, ...] | None
"""One of the above, or the values of a choice from the loosest to the strictest."""

# How far a tenant's own value may leave the installation's: asked when it is set, and again
# whenever it is read, so that what a tenant chose before holds no stricter installation back.
_HOLDS: Mapping[str, Callable[[Any, Any], bool]] = {
    AT_LEAST: lambda own, given: bool(own >= given),
    AT_MOST: lambda own, given: bool(own <= given),
    # An empty list stands for everything, so it is never a part of one that is not.
    WITHIN: lambda own, given: not given or (bool(own) and set(own) <= set(given)),
    ONLY_ON: lambda own, given: bool(own) or not given,
    ONLY_OFF: lambda own, given: bool(given) or not own,
}


def setting(
    default: Any,
    description: str,
    *,
    secret: bool = False,
    per_tenant: bool = False,
    floor: Floor = None,
    form: str = "",
    **limits: Any,
) -> Any:
    """Declare one setting: default, a sentence for people, limits as pydantic knows them.

    `per_tenant` lets a tenant have a value of its own (`tenancy/services_settings.py`), `floor`
    only one that is as strict. `form` tells a tenant's administrators how a value is written.
    """
    extra: dict[str, Any] = {
        "secret": secret,
        "per_tenant": per_tenant,
        "floor": floor,
        "form": form,
    }
    return Field(
        default,
        description=description,
        repr=not secret,
        json_schema_extra=extra,
        validate_default=False,
        **limits,
    )


class Section(BaseModel):
    """One package's settings; field names are the names in the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    title: ClassVar[str] = ""

    @classmethod
    def load(cls, config: Mapping[str, Any], environ: Mapping[str, str]) -> Self:
        """Read and validate the section. Raises Misconfigured naming each bad setting."""
        values = {}
        for name in cls.model_fields:
            found, value = _lookup(name, config, environ)
            if found:
                values[name] = value
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise Misconfigured(_explain(error)) from None

    @classmethod
    def per_tenant(cls) -> frozenset[str]:
        """Return the names of the settings that a tenant may have of its own."""
        return _per_tenant(cls)

    @classmethod
    def floor_of(cls, name: str) -> Floor:
        """Return how far a tenant's value of a setting may leave the installation's."""
        extra: Any = cls.model_fields[name].json_schema_extra
        return cast(Floor, extra["floor"])

    @classmethod
    def form_of(cls, name: str) -> str:
        """Return how a value of a setting is written, in English; may be empty."""
        extra: Any = cls.model_fields[name].json_schema_extra
        return cast(str, extra["form"])

    @classmethod
    def bounds_of(cls, name: str) -> tuple[int, int]:
        """Return the least and the greatest number that a setting may be."""
        rules = cls.model_fields[name].metadata
        least: int = next((rule.ge for rule in rules if hasattr(rule, "ge")), 0)
        most: int = next((rule.le for rule in rules if hasattr(rule, "le")), _NO_LIMIT)
        return least, most

    def contradiction(self) -> tuple[str, str] | None:
        """Return a setting that contradicts another as a tenant has them, and why; or None."""
        return None

    @classmethod
    def current(cls) -> Self:
        """Return this section as loaded for the current app."""
        section: Self = current_app.extensions[EXTENSION].settings[cls]
        return section


@cache
def _per_tenant(cls: type[Section]) -> frozenset[str]:
    return frozenset(
        name
        for name, field in cls.model_fields.items()
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("per_tenant")
    )


def _lookup(name: str, config: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[bool, Any]:
    if config.get(name) is not None:
        return True, config[name]
    if environ.get(name, "") != "":
        return True, environ[name]
    path = environ.get(f"{name}_FILE") or config.get(f"{name}_FILE")
    if not path:
        return False, None
    try:
        return True, Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Misconfigured(f"{name}_FILE cannot be read: {error.strerror}") from None


def _explain(error: ValidationError) -> str:
    parts = [f"{item['loc'][0]}: {item['msg']}" for item in error.errors() if item["loc"]]
    return "Invalid settings: " + "; ".join(parts)


def keeps_floor(floor: Floor, own: Any, given: Any) -> bool:
    """Return whether a tenant's `own` value is as strict as the one `given` by the installation."""
    if floor is None:
        return True
    if isinstance(floor, str):
        return _HOLDS[floor](own, given)
    return floor.index(own) >= floor.index(given)


def refuse_unknown(names: Mapping[str, Any], known: set[str]) -> None:
    """Raise Misconfigured for an `IAM_…` name nobody declared: a typo must not pass (AT-466)."""
    unknown = sorted(
        name
        for name in names
        if name.startswith("IAM_")
        and not name.startswith("IAM_TEST_")
        and name.removesuffix("_FILE") not in known
        and name not in known
    )
    if unknown:
        raise Misconfigured(f"Unknown settings: {', '.join(unknown)}")


def environment() -> Mapping[str, str]:
    """Return the process environment."""
    return os.environ
