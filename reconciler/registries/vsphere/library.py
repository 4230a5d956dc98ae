"""Items of a vCenter's content libraries: what a builder imports there, known by the item's id.

An item has no custom attributes. What it can hold that is a person's own is its description, and so the marks are that
one's last line; they say of which item they are, as a copy is born with those of its origin, and of which version of
its content, as an item may be given another one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from reconciler.model.errors import Terminal, Transient, UserError
from reconciler.model.json_text import json_object
from reconciler.model.lockfile import Artifact
from reconciler.model.observation import TAG_PREFIX, Seen, foreign
from reconciler.model.values import told_instant
from reconciler.plan.key import may_be_of
from reconciler.ports.registry import Located
from reconciler.registries.allowance import Allowance, carried
from reconciler.registries.vsphere.dialect import LIBRARY, VSPHERE
from reconciler.registries.vsphere.inventory import split
from reconciler.registries.vsphere.rest import Rest

_LIBRARY, _ITEM = "com/vmware/content/library", "com/vmware/content/library/item"
_LINE = "reconciler: "
"""What the line of the description begins with that holds the marks."""
_MOST_BYTES = 2000
"""Of a description, which ours is held to: the reference gives no number, and a vCenter's own pages take about that."""
_MACHINE_TEMPLATE = "vm-template"
"""The type of an item that is a machine of the inventory, which libraries do not copy (LibraryItem.copy)."""
_PARALLEL = 8
_MOST_ITEMS = 5000
"""Of a library, of which a vCenter has two thousand at most (VMware Configuration Maximums)."""
_LOOKING, _MOST_TOLD = 600.0, 32 << 20
"""Seconds, and bytes, of what is told of all of them."""
_WHOSE = tuple(f"{TAG_PREFIX}{name}" for name in ("fleet", "image", "build"))


@dataclass(frozen=True)
class Item:
    """An item of a library, as the vCenter has it."""

    id: str
    library: str
    name: str
    type: str
    created: str
    version: str
    description: str

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Item:
        """It, by what the vCenter tells."""
        return cls(
            id=str(told["id"]), library=str(told.get("library_id") or ""), name=str(told.get("name") or ""),
            type=str(told.get("type") or ""), created=told_instant(told.get("creation_time")),
            version=str(told.get("content_version") or ""), description=str(told.get("description") or ""),
        )  # fmt: skip

    @property
    def words(self) -> str:
        """The description without our line."""
        return "\n".join(line for line in self.description.splitlines() if not line.startswith(_LINE))

    @property
    def marks(self) -> dict[str, Any]:
        """What our line holds; nothing where there is none, or one that nobody can read."""
        lines = [line for line in self.description.splitlines() if line.startswith(_LINE)]
        found = json_object(lines[-1].removeprefix(_LINE)) if lines else {}
        return found if isinstance(found.get("tags"), dict) else {}

    @property
    def tags(self) -> dict[str, str]:
        """Its marks, without those of ours that are another's."""
        told = {str(name): str(value) for name, value in self.marks.get("tags", {}).items()}
        return told if self.marks.get("of") == self.id else foreign(told)

    def seen_in(self, location: str) -> Seen:
        """It as a registry reports it: one whose content is another since it was marked can't be used."""
        same = self.marks.get("of") != self.id or self.marks.get("version") == self.version
        state = "available" if same else "unusable"
        return Seen(VSPHERE.name, location, self.id, self.name, state, self.created, self.tags, hearsay=True)  # type: ignore[arg-type]  # one of two states


class Libraries:
    """The content libraries of one vCenter, as `VSphereRegistry` asks them."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def listed(self, location: str) -> Iterator[Seen]:
        """Every item of a library."""
        for one in self._items(location):
            yield one.seen_in(location)

    def find(self, location: str, item_id: str) -> Seen | None:
        """One item of a library, or None."""
        item = self._item(location, item_id, self._library(location))
        return item.seen_in(location) if item is not None else None

    def marked(
        self, location: str, called: Mapping[str, str], *, name: str, tags: Mapping[str, str]
    ) -> Artifact:  # fmt: skip
        """Mark what Packer imported, by the machines' names that it says, each with its builder.

        An item has the machine's name, or one that begins with it: its own must differ where it is a VM template.
        Raises UserError where there is none, or several.
        """
        build = tags.get(f"{TAG_PREFIX}build", "")
        fits = [
            one
            for one in self._items(location)
            if any(one.name.startswith(machine) for machine in (*called, name))
            and may_be_of(build, one.seen_in(location))
            and _is_free(one, tags)
        ]
        if len(fits) != 1:
            found = f"{len(fits)} items ({', '.join(sorted(one.name for one in fits))})" if fits else "no item"
            raise UserError(
                f"Packer says that it made {' and '.join(called)}, of which {location} has {found} of this build",
                hint="give the machine and the item a name of the build's own: vm_name = var.image_name",
            )
        (item,) = fits
        self._mark(location, item, tags)
        builder = next((by for machine, by in called.items() if item.name.startswith(machine)), "")
        builder = builder or next(iter(called.values()))
        return Artifact(kind=VSPHERE.name, builder=builder, location=location, id=item.id, name=item.name)

    def tag(self, artifact: Located, tags: Mapping[str, str]) -> None:
        """Set marks."""
        self._mark(artifact.location, self._known(artifact), tags)

    def copy(self, source: Located, *, to: str, name: str, tags: Mapping[str, str], token: str) -> str:
        """Copy an item to another library of the same vCenter, and mark it."""
        origin, library = self._known(source), self._library(to)
        if origin.type == _MACHINE_TEMPLATE:
            raise UserError(
                f"{origin.name} in {source.location} is a VM template, which no library copies",
                hint="have the builder import an OVF template: ovf = true in content_library_destination",
            )
        there = [one for one in self._items(to) if one.name == origin.name]
        for one in there:
            if not all(one.tags.get(mark) == tags.get(mark) for mark in _WHOSE):
                raise Terminal(f"{to} has another {origin.name}", hint="rename or remove it")
            return one.id
        del name  # an item's own is what its readers look for
        spec = {"library_id": library, "name": origin.name, "description": origin.words}
        body = {"client_token": str(uuid5(NAMESPACE_URL, token)), "destination_create_spec": spec}
        made = self._rest.ask(f"copying {source.id} to {to}", "POST", f"{_at(source.id)}?~action=copy", body)
        copied = self._item(to, str(made), library) if made is not None else None
        if copied is None:
            raise Transient(f"{source.id} was copied to {to}, and is not there")
        self._mark(to, copied, {**foreign(origin.tags), **tags})
        return copied.id

    def remove(self, artifact: Located) -> None:
        """Delete an item with what is in it."""
        self._rest.ask(f"retiring {artifact.id}", "DELETE", _at(artifact.id))

    def _items(self, location: str) -> list[Item]:
        library = self._library(location)
        path = f"{_ITEM}?library_id={quote(library)}"
        ids = self._rest.ask(f"reading {location}", "GET", path) or ()
        if not isinstance(ids, list | tuple) or len(ids) > _MOST_ITEMS:
            raise Terminal(f"{location} has more than {_MOST_ITEMS:,} items, or what is no list of them")
        with (
            Allowance(_LOOKING, most=_MOST_TOLD, what=f"what is in {location}").holds(),
            ThreadPoolExecutor(max_workers=_PARALLEL) as pool,
        ):
            found = list(pool.map(carried(lambda one: self._item(location, str(one), library)), ids))
        return sorted((one for one in found if one is not None), key=lambda one: one.id)

    def _item(self, location: str, item_id: str, library: str) -> Item | None:
        told = self._rest.ask(f"reading {item_id} in {location}", "GET", _at(item_id))
        item = Item.of(told) if isinstance(told, dict) and told.get("id") else None
        return item if item is not None and item.library == library else None

    def _known(self, artifact: Located) -> Item:
        item = self._item(artifact.location, artifact.id, self._library(artifact.location))
        if item is None:
            raise Terminal(f"{artifact.id} is not in {artifact.location}")
        return item

    def _library(self, location: str) -> str:
        """The id of a library. Raises UserError where there is none of that name, or several."""
        name = split(location)[1].removeprefix(f"{LIBRARY}/")
        found = self._rest.ask(f"reading {location}", "POST", f"{_LIBRARY}?~action=find", {"spec": {"name": name}})
        ids: Sequence[Any] = found if isinstance(found, list) else ()
        if len(ids) != 1:
            many = f"{len(ids)} libraries have that name" if ids else "there is none, or none that may be seen"
            raise UserError(f"there is no one content library {location}: {many}", hint="create it, or name another")
        return str(ids[0])

    def _mark(self, location: str, item: Item, tags: Mapping[str, str]) -> None:
        """Write an item's marks, and read them back: another writer may come between."""
        kept = item.tags if item.marks.get("of") == item.id else foreign(item.tags)
        wanted = {name: value for name, value in {**kept, **tags}.items() if value}
        if wanted == item.tags and item.marks.get("of") == item.id:
            return
        version = item.marks.get("version", item.version) if item.marks.get("of") == item.id else item.version
        marks = {"of": item.id, "tags": wanted, "version": version}
        line = f"{_LINE}{json.dumps(marks, sort_keys=True, separators=(',', ':'))}"
        description = "\n".join(filter(None, (item.words, line)))
        size = len(description.encode())
        if size > _MOST_BYTES:
            raise Terminal(
                f"the marks of {item.name} in {location} take {size} bytes, and its description holds {_MOST_BYTES}",
                hint="declare fewer or shorter `tags`, or shorten the item's notes",
            )
        body = {"update_spec": {"description": description}}
        self._rest.ask(f"marking {item.id}", "PATCH", _at(item.id), body)
        now = self._item(location, item.id, item.library)
        if now is None or now.description != description:
            raise Transient(f"the marks of {item.id} in {location} are being written by somebody else")


def _at(item_id: str) -> str:
    return f"{_ITEM}/id:{quote(item_id, safe='')}"


def _is_free(item: Item, tags: Mapping[str, str]) -> bool:
    """Whether it carries no marks of ours, or those of this very build."""
    whose = {mark: item.tags.get(mark) for mark in _WHOSE}
    return not any(whose.values()) or all(value == tags.get(mark) for mark, value in whose.items())
