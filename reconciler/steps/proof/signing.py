"""Read from a clone which of its commits had to be signed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

from reconciler.desired.settings import SETTINGS_FILE, read_settings
from reconciler.git.past import At, at_every_commit, author_of
from reconciler.git.repository import Repository
from reconciler.model.declaration import GitSettings
from reconciler.model.errors import UserError
from reconciler.plan.proof.signing import Required, Setting, required_before

SET = "though git.sign was set"
ASKED = "and --signed asks for it"


class SigningRule:
    """Why a commit, or what it recorded, had to be signed: as half a sentence, or empty where it had not.

    Args:
        repository: The clone.
        revision: The commit up to which is looked.
        trusted: Whether a commit is signed by a key that is known.
        always: Whether signatures are required whatever the settings said.
    """

    def __init__(
        self, repository: Repository, revision: str, *, trusted: Callable[[str], bool], always: bool = False
    ) -> None:
        self._repository = repository
        self._revision = revision
        self._trusted = trusted
        self._always = always

    def of_commit(self, commit: str) -> str:
        """Why a commit had to be signed. One that a person merges is not: it is theirs."""
        return self._why(self._commits.get(commit), direct=self.direct(commit))

    def of_statement(self, commit: str) -> str:
        """Why the statement that a commit recorded had to be signed."""
        return self._why(self._statements.get(commit), direct=True)

    def of_now(self) -> str:
        """Why a tag that is made now had to be signed."""
        return self._why(self._statements.get(self._revision), direct=True)

    def direct(self, commit: str) -> bool:
        """Whether state was pushed as it was recorded, by the settings before a commit."""
        at = self._every[commit]
        places = [self._every[parent] for parent in at.parents if parent in self._every] or [at]
        found = next((settings for one in (*places, at) if (settings := self._read(one)) is not None), GitSettings())
        return found.push == "direct"

    def _why(self, rule: Required | None, *, direct: bool) -> str:
        if rule is not None and rule.required:
            if not rule.ended_by:
                return SET
            by = f"{rule.ended_by[:7]} of {author_of(self._repository.git, rule.ended_by)}"
            return f"though git.sign asked for it until {by} ended that, a commit that no trusted key signed"
        return ASKED if self._always and direct else ""

    @cached_property
    def _every(self) -> Mapping[str, At]:
        found = at_every_commit(self._repository.git, SETTINGS_FILE, revision=self._revision)
        return {one.commit: one for one in found}

    @cached_property
    def _statements(self) -> Mapping[str, Required]:
        return self._required(lambda settings: settings.sign)

    @cached_property
    def _commits(self) -> Mapping[str, Required]:
        return self._required(lambda settings: settings.sign and settings.push == "direct")

    def _required(self, asks: Callable[[GitSettings], bool]) -> Mapping[str, Required]:
        read = ((one, self._read(one)) for one in self._every.values())
        settings = (Setting(one.commit, one.parents, asks(found) if found is not None else None) for one, found in read)
        return required_before(settings, trusted=self._trusted)

    def _read(self, at: At) -> GitSettings | None:
        if at.content not in self._parsed:
            try:
                self._parsed[at.content] = read_settings(at.content).settings.git
            except UserError:
                self._parsed[at.content] = None
        return self._parsed[at.content]

    @cached_property
    def _parsed(self) -> dict[bytes | None, GitSettings | None]:
        return {}
