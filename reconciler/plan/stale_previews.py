"""What pull requests left behind: artifacts that no merge will promote any more."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from reconciler.model.lockfile import Reason
from reconciler.model.observation import Seen
from reconciler.model.plan import Decision
from reconciler.plan.situation import Situation
from reconciler.plan.verdicts import with_action


def old_previews(situation: Situation) -> tuple[Seen, ...]:
    """The previews of an image that are older than `retain.previews` and of no use.

    Of no use is what a later preview of the same branch replaced, and what belongs to a branch that is gone. Where the
    remote's branches are not known, nothing is: a preview that is retired too early has to be built again.
    """
    if situation.live_branches is None:
        return ()
    recorded = {(one.location, one.id) for build in situation.lock.builds for one in build.artifacts}
    previews = [
        one
        for one in situation.seen
        if one.own("phase") == "preliminary" and (one.location, one.id) not in recorded and one.began is not None
    ]
    newest: dict[str, str] = {}
    for one in previews:
        branch = one.own("branch") or ""
        newest[branch] = max(newest.get(branch, ""), one.own("build") or "")
    return tuple(one for one in previews if _is_old(situation, one) and _is_useless(situation, one, newest))


def with_old_previews(situation: Situation, decision: Decision) -> Decision:
    """The decision with the retirement of previews that nobody needs; never by the preview of another branch."""
    old = () if situation.options.preview else old_previews(situation)
    if not old or decision.planned.unknown:
        return decision
    reasons = tuple(
        Reason(
            code="removed", was=f"{one.location} {one.id} of branch {one.own('branch')}", now="branch gone or rebuilt"
        )
        for one in old
    )
    return replace(with_action(decision, "retire", reasons), old_previews=old)


def _is_old(situation: Situation, seen: Seen) -> bool:
    limit = timedelta(seconds=situation.image.declaration.retain.previews)
    return seen.began is not None and situation.now - seen.began > limit


def _is_useless(situation: Situation, seen: Seen, newest: dict[str, str]) -> bool:
    branch = seen.own("branch") or ""
    live = situation.live_branches or frozenset()
    return branch not in live or (seen.own("build") or "") < newest[branch]
