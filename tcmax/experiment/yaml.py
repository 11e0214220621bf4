"""Reading YAML, and saying in one sentence what is wrong with it."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic import Strict as StrictHere

from tcmax.errors import TcmaxError
from tcmax.records.files import explained


class Strict(BaseModel):
    """What a file holds: unknown keys, silent type conversions and numbers that are none are errors.

    A whole number may stand for a real one. A list of YAML becomes the tuple that `Listed` declares.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


# A tuple whose entries are strict, given as a list: Annotated[tuple[int, ...], Listed].
Listed = StrictHere(False)


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a repeated key is an error instead of silently winning."""


def _mapping(loader: _UniqueKeys, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    # Before `<<` is merged in, whose keys may be overridden.
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value if not key.tag.endswith(":merge")]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} occurs twice", node.start_mark)
    return loader.construct_mapping(node, deep=True)


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path) -> Any:
    """A YAML file's content; a missing, unreadable or ill-formed file is a TcmaxError naming it and the line."""
    with explained("read", path):
        raw = Path(path).read_bytes()
    try:
        return yaml.load(raw.decode("utf-8-sig"), Loader=_UniqueKeys)
    except UnicodeDecodeError as error:
        raise TcmaxError(f"{path} is not UTF-8 text.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise TcmaxError(f"{path}: {where}{getattr(error, 'problem', None) or error}.") from error


def finding(error: ValidationError) -> tuple[str, str]:
    """The first finding of a validation error: the path of its key, and what is wrong with the value that was given."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key"
    elif first["type"] == "missing":
        message = "this key is missing"
    given = first.get("input")
    shown = f" (got {given!r})" if isinstance(given, str | int | float | bool) and "key" not in message else ""
    return ".".join(str(part) for part in first["loc"]), f"{message[0].lower() + message[1:]}{shown}"


def explain(error: ValidationError, path: Path, under: str = "") -> TcmaxError:
    """The first finding of a validation error as one sentence with file and key path; under: the keys above it."""
    key, message = finding(error)
    # What a whole mapping is refused for begins with the key that it blames.
    text = f"{key}: {message}" if key else message
    return TcmaxError(f"{path}: {under + '.' if under else ''}{text}.")
