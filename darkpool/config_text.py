"""Settings as text: the commented example file, and what is wrong with a file in one line.

Both read names, bounds and descriptions off the models, so each is written once, where the field is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args, get_origin

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import BaseModel, GetCoreSchemaHandler, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from darkpool.errors import ConfigError

_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class Text:
    """Annotates a text field: `allowed` in words, and `fits`, which is false or raises for anything else."""

    allowed: str
    fits: Callable[[str], object]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401
        """Called by pydantic: the check follows that of the type."""
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, value: str) -> str:
        try:
            fits = self.fits(value)
        except (ConfigError, ValueError):
            fits = False
        if not fits:
            raise ValueError(self.allowed)
        return value


def whole(value: object) -> object:
    """Integers, and plain digits as the environment has them; no booleans, floats, signs or spaces."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("not a whole number")


def rendered(settings: BaseModel) -> str:
    """A TOML file that sets every field to its value here, each below its description and limits."""
    return "\n".join(_table(settings, "", comments=True)).strip() + "\n"


def problem(error: ValidationError, model: type[BaseModel], layers: Mapping[str, object]) -> ConfigError:
    """The first of a model's complaints: whence it came, field, value if a number, what is allowed.

    `layers` are the nested mappings the settings were merged from, by name, the winning one first. Text is
    never quoted: it may hold a password.
    """
    first = error.errors(include_url=False)[0]
    location = first["loc"]
    owner, info = _found(model, location)
    place = next((name for name, layer in layers.items() if _holds(layer, location)), [*layers][-1])
    where = f"{place}: {path_text(location)}"
    if info is None:
        return ConfigError(f"{where}: no such setting", f"known here: {', '.join(owner.model_fields)}")
    if first["type"] == "missing":
        return ConfigError(f"{where} is missing", f"{info.description}; {limit(info)}")
    value = first["input"]
    got = f"got {str(value)[:_SHOWN]}; " if isinstance(value, int | float) else ""
    return ConfigError(f"{where}: {got}allowed: {limit(info)}", f"{path_text(location)}: {info.description}")


def path_text(location: Sequence[str | int]) -> str:
    """A place in the settings, like `api.port` or `market 1, reference.start`."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f" {part + 1}"
        else:
            text += ("" if not text else ", " if text[-1].isdigit() and " " in text else ".") + part[:_SHOWN]
    return text


def limit(info: FieldInfo) -> str:
    """What a field may hold, in words."""
    annotation = info.annotation
    if annotation is int:
        return f"a whole number, {_bound(info, Ge, 'ge')} to {_bound(info, Le, 'le')}"
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(get_args(annotation))
    if get_origin(annotation) is tuple:
        return f"{_bound(info, MinLen, 'min_length')} to {_bound(info, MaxLen, 'max_length')} tables"
    if annotation is str:
        return next(item.allowed for item in info.metadata if isinstance(item, Text))
    return "a table"


def _bound(info: FieldInfo, kind: type, name: str) -> object:
    return next(getattr(item, name) for item in info.metadata if isinstance(item, kind))


def _found(model: type[BaseModel], location: Sequence[str | int]) -> tuple[type[BaseModel], FieldInfo | None]:
    """The field at a location and the model it belongs to; no field if it has no such name."""
    inner, info = model, None
    for name in (part for part in location if isinstance(part, str)):
        model, info = inner, inner.model_fields.get(name)
        if info is None:
            break
        kind = next(iter(get_args(info.annotation)), info.annotation)
        inner = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else inner
    return model, info


def _holds(layer: object, location: Sequence[str | int]) -> bool:
    for part in location:
        entries: object = dict(enumerate(layer)) if isinstance(layer, list | tuple) else layer
        if not isinstance(entries, Mapping) or part not in entries:
            return False
        layer = entries[part]
    return True


def _table(model: BaseModel, prefix: str, *, comments: bool) -> Iterator[str]:
    inner: list[str] = []
    for name, info in type(model).model_fields.items():
        value, path = getattr(model, name), prefix + name
        if isinstance(value, BaseModel):
            inner += ["", f"[{path}]", *_table(value, f"{path}.", comments=comments)]
        elif isinstance(value, tuple):
            for number, item in enumerate(value):
                inner += ["", f"[[{path}]]", *_table(item, f"{path}.", comments=comments and not number)]
        else:
            if comments:
                yield f"# {info.description}; {limit(info)}"
            yield f"{name} = {json.dumps(value)}"
    yield from inner
