"""Literal tables of what can be named in a config, with a single look-up among installed entry points.

A table maps a public id to the place its class lives, as "module:attribute", imported on use, so that a list
of names costs no import. Another package adds a method, dataset, encoder or head through an entry-point group
of the table's name; nothing is discovered by scanning folders.
"""

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from tcmax.errors import TcmaxError


def _squash(name: str) -> str:
    """Spelling without case and punctuation, so that CREMA-D, crema_d and cremad are one name."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


@dataclass(frozen=True)
class Entry:
    """Where a named thing lives, and its other spellings in the literature."""

    target: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class NameTable:
    """Names of one kind of thing.

    kind: what an error message calls it ("method").
    group: entry-point group in which other packages add to it ("tcmax.methods").
    """

    kind: str
    group: str
    entries: dict[str, Entry] = field(default_factory=dict)

    def _installed(self) -> dict[str, EntryPoint]:
        """Entry points of other packages by name. Raises TcmaxError when two of them declare one name."""
        found: dict[str, EntryPoint] = {}
        for point in entry_points(group=self.group):
            other = found.setdefault(point.name, point)
            if other.value != point.value:
                raise TcmaxError(
                    f"two installed packages declare the {self.kind} {point.name!r}: {other.value} and {point.value}; "
                    "uninstall one of them."
                )
        return found

    def names(self) -> list[str]:
        """All ids: the literal ones in table order, then installed ones by name."""
        return [*self.entries, *sorted(set(self._installed()) - set(self.entries))]

    def __contains__(self, name: str) -> bool:
        """Whether `name` is an id or an alias."""
        return self._find(name) is not None

    def canonical(self, name: str) -> str:
        """The id that `name` or one of its aliases stands for.

        Raises TcmaxError naming close spellings when there is none.
        """
        found = self._find(name)
        if found is not None:
            return found
        names = self.names()
        close = get_close_matches(name.lower(), names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}."
        raise TcmaxError(f"unknown {self.kind} {name!r}; {hint}")

    def _find(self, name: str) -> str | None:
        wanted = _squash(name)
        for known, entry in self.entries.items():
            if wanted in {_squash(spelling) for spelling in (known, *entry.aliases)}:
                return known
        return next((known for known in sorted(self._installed()) if wanted == _squash(known)), None)

    def target(self, name: str) -> str:
        """ "module:attribute" of an id or alias, without importing it."""
        known = self.canonical(name)
        if known in self.entries:
            return self.entries[known].target
        return self._installed()[known].value

    def load(self, name: str) -> Any:
        """Import and return what an id or alias names. A broken entry point of another package is a TcmaxError."""
        target = self.target(name)
        module, _, attribute = target.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            if self.canonical(name) in self.entries:
                raise
            raise TcmaxError(f"the {self.kind} {name!r} is declared as {target}, which fails: {error}.") from error
