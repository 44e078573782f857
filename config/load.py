"""From file, environment and command line to checked settings, or to everything that is wrong with them.

Precedence: flags over environment over file. `M365_EXPORT__TENANT__ID` stands for the key `tenant.id`,
hyphens written as underscores, the value read as YAML; a variable that names a whole section replaces that
section.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from config.checks import cross_faults, file_faults, privacy_faults, secret_faults
from config.faults import Fault, SettingsError, unknown_key
from config.fields import Group, ReadContext
from config.keys import ROOT, keys_of, resolve_folded, resolve_location
from config.model import Output, Privacy, ReaderSettings, RuleOptions, Settings
from config.secrets import SecretReader
from config.yaml_text import YamlFaultError, parse_yaml

ENVIRONMENT_PREFIX = "M365_EXPORT__"
NO_OVERRIDES: Mapping[str, object] = MappingProxyType({})

_Model = TypeVar("_Model", bound=BaseModel)


def load_settings(
    path: Path | None,
    *,
    environ: Mapping[str, str],
    overrides: Mapping[str, object] = NO_OVERRIDES,
    reader: SecretReader | None = None,
) -> Settings:
    """The settings of `path`, changed by `environ`, changed by `overrides` (`{"privacy.profile": "psoxy"}`).

    An override of None is a flag that was not given. With a `reader` every secret the settings need is read
    too, and files they name are looked for; this may call a cloud. Raises SettingsError with all faults.
    """
    sources = _Sources(path, environ=environ, overrides=overrides)
    values = _opened(sources.values)
    settings, faults = _validated(Settings, values, base_dir=sources.base_dir)
    faults += cross_faults(values)
    if reader is not None:
        faults += secret_faults(values, base_dir=sources.base_dir, reader=reader)
        faults += file_faults(values, base_dir=sources.base_dir)
    return _or_raise(settings, sources.faults + faults)


def load_privacy_only(
    path: Path | None,
    *,
    environ: Mapping[str, str],
    overrides: Mapping[str, object] = NO_OVERRIDES,
    reader: SecretReader | None = None,
) -> Privacy:
    """The `privacy` section alone, for commands that touch no tenant and no bucket; others are ignored.

    `reader` as for `load_settings`. Raises SettingsError with all faults of that section.
    """
    sources = _Sources(path, environ=environ, overrides=overrides)
    section = {"privacy": sources.section("privacy")}
    privacy, faults = _validated(Privacy, section["privacy"], base_dir=sources.base_dir, at=("privacy",))
    faults += privacy_faults(section)
    if reader is not None:
        faults += secret_faults(section, base_dir=sources.base_dir, reader=reader, privacy_only=True)
        faults += file_faults(section, base_dir=sources.base_dir, privacy_only=True)
    return _or_raise(privacy, sources.faults_of("privacy") + faults)


def load_rule_options(
    path: Path | None, *, environ: Mapping[str, str], overrides: Mapping[str, object] = NO_OVERRIDES
) -> RuleOptions:
    """What `privacy` says about rules, without its secrets: no salt needed, and without a file the defaults.

    Raises SettingsError with all faults of that part.
    """
    sources = _Sources(path, environ=environ, overrides=overrides)
    section = _without_secrets(sources.section("privacy"))
    options, faults = _validated(RuleOptions, section, base_dir=sources.base_dir, at=("privacy",))
    return _or_raise(options, sources.faults_of("privacy") + faults)


def load_output(
    path: Path | None, *, environ: Mapping[str, str], overrides: Mapping[str, object] = NO_OVERRIDES
) -> Output:
    """The `output` section alone; without a file the defaults. Raises SettingsError with all faults of that part."""
    sources = _Sources(path, environ=environ, overrides=overrides)
    output, faults = _validated(Output, sources.section("output"), base_dir=sources.base_dir, at=("output",))
    return _or_raise(output, sources.faults_of("output") + faults)


def load_reader_settings(
    path: Path | None, *, environ: Mapping[str, str], overrides: Mapping[str, object] = NO_OVERRIDES
) -> ReaderSettings:
    """What reading an export takes: `destination`, `storage`, and `privacy` without its secrets; others are ignored.

    Raises SettingsError with all faults of that part.
    """
    sources = _Sources(path, environ=environ, overrides=overrides)
    sections = {key: sources.values[key] for key in keys_of((ReaderSettings,)) if key in sources.values}
    if "privacy" in sections:
        sections["privacy"] = _without_secrets(sections["privacy"])
    settings, faults = _validated(ReaderSettings, sections, base_dir=sources.base_dir)
    faults += file_faults(sections, base_dir=sources.base_dir, privacy_only=True)
    return _or_raise(settings, sources.faults_of("destination", "storage", "privacy") + faults)


def _without_secrets(privacy: Any) -> Any:
    only_secrets = keys_of((Privacy,)).keys() - keys_of((RuleOptions,)).keys()
    if not isinstance(privacy, dict):
        return privacy
    return {key: value for key, value in privacy.items() if key not in only_secrets}


class _Sources:
    """The raw values of all three sources as one tree, and what was wrong with the sources themselves."""

    def __init__(self, path: Path | None, *, environ: Mapping[str, str], overrides: Mapping[str, object]) -> None:
        self.base_dir = path.absolute().parent if path else Path.cwd()
        self.values: dict[str, Any] = _read_file(path) if path else {}
        self.faults: list[Fault] = []
        self._apply_environment(environ)
        for key, value in overrides.items():
            if value is not None:
                _put(self.values, key.split("."), value)

    def section(self, name: str) -> Any:
        """One section as given; an empty one when it is missing."""
        section = self.values.get(name)
        return {} if section is None else section

    def faults_of(self, *sections: str) -> list[Fault]:
        """The faults that matter when only these sections are used: their own, and sections nobody knows."""
        known = keys_of(ROOT)
        own = [fault for fault in self.faults if fault.path.split(".")[0] not in known.keys() - set(sections)]
        return own + [unknown_key(key, known) for key in self.values if key not in known]

    def _apply_environment(self, environ: Mapping[str, str]) -> None:
        variables = [name for name in environ if name.startswith(ENVIRONMENT_PREFIX)]
        # A whole section first, then single keys inside it.
        for variable in sorted(variables, key=lambda name: (name.count("__"), name)):
            found, unknown, known = resolve_folded(variable.removeprefix(ENVIRONMENT_PREFIX).split("__"))
            if unknown is not None:
                fault = unknown_key(".".join([*found, unknown]) or variable, known)
                self.faults.append(Fault(fault.path, f"{fault.message} (from {variable})"))
                continue
            try:
                _put(self.values, found, parse_yaml(environ[variable]))
            except YamlFaultError as error:
                self.faults += [Fault(".".join(found), f"{line} (from {variable})") for line in error.complaints]


def _read_file(path: Path) -> dict[str, Any]:
    try:
        values = parse_yaml(path.read_bytes())
    except OSError as error:
        raise SettingsError([Fault(str(path), f"cannot be read: {error.strerror}")]) from None
    except YamlFaultError as error:
        raise SettingsError([Fault(str(path), line) for line in error.complaints]) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingsError([Fault(str(path), "a mapping of keys is expected")])
    return values


def _put(values: dict[str, Any], keys: list[str], value: object) -> None:
    *groups, last = keys
    for key in groups:
        if not isinstance(values.get(key), dict):
            values[key] = {}
        values = values[key]
    values[last] = value


def _opened(values: dict[str, Any]) -> dict[str, Any]:
    """The same with empty sections for those that are missing, so that each key they need is asked for at once."""
    sections = {
        field.alias or name
        for name, field in Settings.model_fields.items()
        if field.is_required() and isinstance(field.annotation, type) and issubclass(field.annotation, Group)
    }
    return {**values, **{name: {} for name in sections if values.get(name) is None}}


def _validated(
    model: type[_Model], values: Any, *, base_dir: Path, at: tuple[str, ...] = ()
) -> tuple[_Model | None, list[Fault]]:
    """The model of `values`, or None and the faults; `at` is where the values stand in the whole settings."""
    context: ReadContext = {"base_dir": base_dir}
    try:
        return model.model_validate(values, context=context), []
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        return None, [_fault(detail, location=(*at, *detail["loc"])) for detail in details]


def _fault(detail: ErrorDetails, *, location: tuple[str | int, ...]) -> Fault:
    path, known = resolve_location(location)
    context = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            return unknown_key(path, known)
        case "missing":
            return Fault(path, "required")
        case "value_error":
            return Fault(path, str(context["error"]))
        case "literal_error":
            return Fault(path, f"expected {context['expected']}".replace("'", ""))
        case "union_tag_invalid":
            return Fault(f"{path}.kind", f"expected one of {context['expected_tags']}".replace("'", ""))
        case "union_tag_not_found":
            return Fault(f"{path}.kind", "required")
        case "model_type" | "model_attributes_type" | "dict_type":
            return Fault(path, "a mapping of keys is expected")
        case "tuple_type":
            return Fault(path, "a list is expected")
        case _:
            # pydantic's own words name the kind expected, never the value.
            return Fault(path, detail["msg"].replace("Input should be", "expected"))


def _or_raise(result: _Model | None, faults: list[Fault]) -> _Model:
    if result is None or faults:
        raise SettingsError(faults)
    return result
