"""What the controller asks of the place where consumers look up artifacts by names that stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from reconciler.model.observation import Group, Held, Template
from reconciler.model.publish import AutoScalingGroup


class Publisher(Protocol):
    """Names in locations, each of which holds an artifact's id; launch templates, each version of which does; groups.

    Methods may be called from several threads.

    They raise Transient when it could not be asked (throttled, unreachable) and Terminal when it refused (no right, bad
    credentials). Neither ever means "not there".
    """

    def read(self, location: str, names: Sequence[str]) -> Mapping[str, Held]:
        """What these names hold in a location, but for whose they are; one that is not there is left out."""

    def is_ours(self, location: str, name: str) -> bool:
        """Whether what is there, or what it names, carries this fleet's mark. What is not there is in nobody's way."""

    def put(self, location: str, name: str, artifact_id: str, *, description: str) -> int:
        """Begin to write an artifact's id, and return the version that this is. Made anew, it carries our mark.

        What was written may be judged later than this returns: see `confirm`. Raises Terminal, and writes nothing,
        where somebody else's is there, or what can't hold an artifact's id. Where nothing but what it holds tells whose
        a name is, it is written whatever that is: whoever calls has looked (`is_ours`), or had recorded it.
        """

    def confirm(self, location: str, name: str, artifact_id: str, *, version: int) -> None:
        """Wait until what `put` began is what a reader finds.

        Raises Terminal where it does not come to that, Transient where somebody else wrote something meanwhile.
        """

    def label(self, location: str, name: str, *, version: int, build: str) -> None:
        """Have the version of a name that was confirmed be found by its build as well, for as long as there is room.

        Nothing where names have no versions. Raises Transient where it is not found so.
        """

    def remove(self, location: str, name: str) -> None:
        """Delete a name. What is gone is no error. Raises Terminal, and deletes nothing, where it is not ours."""

    def templates(self, location: str, names: Sequence[str]) -> Mapping[str, Template]:
        """The launch templates of these names, with all their versions; one that is not there is left out."""

    def unfit(self, location: str, template: Template, artifact_id: str) -> str | None:
        """Why what the template launches on can't boot an artifact; None where it can, or nothing tells."""

    def add_version(self, location: str, template: Template, artifact_id: str, *, description: str) -> int:
        """Make a version of the template's default one with an artifact in it, and return its number, read back.

        Asked twice for the same it makes one. Raises Terminal, and makes nothing, where the template is not ours.
        """

    def set_default(self, location: str, template: Template, version: int) -> None:
        """Have a version be the template's default. Raises Terminal where the template is not ours."""

    def remove_version(self, location: str, name: str, version: int, artifact_id: str) -> None:
        """Delete the version of a template that launches an artifact. What is gone is no error.

        Raises Terminal, and deletes nothing, where the template is not ours, or the version is its default one, or
        launches something else.
        """

    def groups(self, location: str, names: Sequence[str]) -> Mapping[str, Group]:
        """The groups of these names, with what they run and their refreshes; one that is not there is left out."""

    def group_misfit(self, location: str, group: Group, artifact_id: str) -> str | None:
        """Why a group can't go over to an artifact, or could not come back from it; None where nothing tells."""

    def begin_refresh(self, location: str, group: Group, version: int, settings: AutoScalingGroup) -> str:
        """Begin to replace a group's instances by those of a version of its own template, and return the refresh's id.

        It turns back by itself where it fails. Raises Transient where another one is under way, Terminal, and begins
        nothing, where the group is not ours.
        """

    def turn_back(self, location: str, group: Group, refresh: str) -> None:
        """Have a refresh that is under way lead back to what the group ran. One that has ended is no error.

        Raises Terminal, and does nothing, where the group is not ours.
        """
