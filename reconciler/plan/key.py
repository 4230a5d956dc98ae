"""The key, the content address of a build over named components (docs/key.md); and who has it already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from reconciler.model.declaration import Declaration
from reconciler.model.fleet import Image, InputFile, UnreadImage
from reconciler.model.kind import Kind
from reconciler.model.lockfile import Build
from reconciler.model.observation import Seen
from reconciler.model.plan import Wanted
from reconciler.model.source import Pin, SourceRequest
from reconciler.model.values import began_at, digest, parse_instant

# The key: the content address of a build, over named components (docs/key.md).
#
# What is not in it costs no build when it changes: the image's name, its locations, sharing, schedule, retention,
# notification, and the comments and layout of image.yaml.

SOURCE = "source"
REFRESH_OF = "refresh_of"
_TOOLING = "tooling"


def wanted(image: Image, pin: Pin | None, *, refresh_of: str | None = None) -> Wanted:
    """What the image's build should be, on this pin.

    `refresh_of` is the build id that a refresh replaces: without it the build that is to be replaced would be
    adopted at once; with it a refresh that crashed is adopted by the next run, which derives the same key.

    The source that Packer found for an image that leaves it to its template is recorded, and is in no key: before a
    build nobody can say what it will be.
    """
    components = _components(image)
    inputs = inputs_of(components, image.source, kind=image.kind)
    if pin is not None and image.source is not None:
        components[SOURCE] = digest(pin.identity)
    if refresh_of is not None:
        components[REFRESH_OF] = digest(refresh_of)
    return Wanted(key=digest(components), components=components, inputs=inputs, pin=pin)


def inputs_of(components: Mapping[str, str], request: SourceRequest | None, *, kind: Kind) -> str:
    """The digest of everything a person can review: all components but the pin and what is refreshed.

    The request stands in for the pin. Without it a build on the source that the image had before, or on one that
    another pull request asks for, would have the same inputs, and would be adopted with its pin.
    """
    return digest([reviewed(components), kind.whole(request) if request is not None else None])


def reviewed(components: Mapping[str, str]) -> dict[str, str]:
    """The components that a person can review: what the image is made of but its source, whatever it renews."""
    return {name: value for name, value in components.items() if name not in (SOURCE, REFRESH_OF)}


def moved(recorded: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the components that differ, leaving out that a build was a refresh of another."""
    names = (recorded.keys() | now.keys()) - {REFRESH_OF}
    return tuple(sorted(name for name in names if recorded.get(name) != now.get(name)))


def short(key: str) -> str:
    """The seven hex digits of a key that a build id ends with."""
    return key.removeprefix("sha256:")[:7]


def of_inputs(declaration: Declaration, inputs: Iterable[InputFile], *, kind: Kind) -> dict[str, str]:
    """The components that are known before the template is read, of one image's declaration and inputs."""
    packer, source = declaration.packer, declaration.source
    variable = source.variable if source is not None else None
    passed = {"source": variable} if variable not in (None, kind.source_variable) else {}
    return {
        "files": digest([[file.path, file.mode, file.oid] for file in sorted(inputs)]),
        "variables": digest({"values": packer.variables, "files": list(packer.var_files), **passed}),
        "builds": digest({"template": packer.template, "working_dir": packer.working_dir, "only": sorted(packer.only)}),
    }


def unmoved(build: Build, inputs: Mapping[str, str]) -> dict[str, str] | None:
    """What a recorded build is made of but its source, if the components of its inputs still are these; else None.

    What the template says of tooling comes of the same files, so that it is as it was. A record whose key is not that
    of its components was not written by us, and tells nothing.
    """
    made_of = reviewed(build.components)
    if made_of.keys() != {*inputs, _TOOLING} or any(made_of[name] != value for name, value in inputs.items()):
        return None
    return made_of if digest(build.components) == build.key else None


def _components(image: Image) -> dict[str, str]:
    """The digests of all that the image is made of, but its source."""
    if isinstance(image, UnreadImage):
        return dict(image.components)
    tooling = {"packer": image.template.required_version, "plugins": dict(image.template.plugins)}
    return {**of_inputs(image.declaration, image.inputs, kind=image.kind), _TOOLING: digest(tooling)}


# Adopt before build: is what is wanted in the registry already?
#
# It is after a merge (the pull request built it), after a crash (the last run built it) and after a lost push.

NEVER_AGAIN = frozenset({"rejected", "revoked"})
_SKEW = timedelta(minutes=5)
"""How far a builder's clock may be off the registry's: AWS takes no request that is signed further off."""


def adoptable(seen: Iterable[Seen], *, key: str) -> tuple[Seen, ...]:
    """The complete artifacts of the newest build with this key, at most one per location; empty if there is none."""
    return _newest_build(one for one in seen if one.own("key") == key)


def adoptable_by_inputs(seen: Iterable[Seen], wanted: Wanted) -> tuple[Seen, ...]:
    """The same by what people reviewed: everything but the pin. Only for an image that has no pin yet."""
    return _newest_build(one for one in seen if one.own("inputs") == wanted.inputs)


def _newest_build(seen: Iterable[Seen]) -> tuple[Seen, ...]:
    builds: dict[str, dict[str, Seen]] = {}
    for one in seen:
        build = one.own("build")
        refused = one.own("phase") in NEVER_AGAIN or one.own("smoke") == "failed"
        if build is None or not one.complete or refused or not may_be_of_its_build(one):
            continue
        # Two complete copies of a build in one location come from two runs at once: the first one made stays.
        best = builds.setdefault(build, {}).setdefault(one.location, one)
        if (one.created, one.id) < (best.created, best.id):
            builds[build][one.location] = one
    if not builds:
        return ()
    newest = builds[max(builds, key=lambda build: (_made(builds[build]), build))]
    return tuple(newest[location] for location in sorted(newest))


def may_be_of_its_build(seen: Seen) -> bool:
    """Whether it names a build, and is not older than that: a tag may say any time, and a registry's date may not."""
    return seen.began is not None and may_be_of(seen.own("build") or "", seen)


def may_be_of(build_id: str, seen: Seen) -> bool:
    """Whether an artifact is not older than a build, by the registry's own date."""
    return not seen.created or began_at(build_id) <= parse_instant(seen.created) + _SKEW


def _made(build: Mapping[str, Seen]) -> str:
    """When the first of a build's artifacts was made, in the registry's own word: a copy makes no build newer."""
    return min(one.created for one in build.values())
