"""Reading YAML, and saying in one sentence what is wrong with it."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tcmax.errors import TcmaxError
from tcmax.records.files import explained


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


def explain(error: ValidationError, path: Path) -> TcmaxError:
    """The first finding of a validation error as one sentence with file and key path."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key"
    elif first["type"] == "missing":
        message = "this key is missing"
    given = first.get("input")
    shown = f" (got {given!r})" if isinstance(given, str | int | float | bool) and "key" not in message else ""
    return TcmaxError(f"{path}: {where + ': ' if where else ''}{message[0].lower() + message[1:]}{shown}.")
