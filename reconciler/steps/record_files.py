"""The files in state/ that a lockfile names: SBOMs, provenance, signatures; and where they are until then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.git.objects import Change, TagRequest
from reconciler.git.repository import Repository
from reconciler.git.signature import sign, signer
from reconciler.model.difference import Difference
from reconciler.model.errors import UserError
from reconciler.model.inventory import Inventory
from reconciler.model.lockfile import Build, Lockfile
from reconciler.model.provenance import Origin
from reconciler.model.tree import Tree, content_at
from reconciler.plan.difference import difference
from reconciler.plan.planning import Known
from reconciler.plan.proof.provenance import record_digest
from reconciler.plan.trust import believed
from reconciler.state.lockfiles import FOLDER
from reconciler.state.provenance import NAMESPACE, attest, signature_path
from reconciler.state.provenance import path_of as provenance_path
from reconciler.state.sbom import read_sbom, render_sbom
from reconciler.state.unsaved import is_committed, read_unsaved_sbom
from reconciler.steps.run import Run
from reconciler.words.messages import sbom_tag_name

# The files in state/ that a lockfile names: each of its builds' SBOM, its provenance, and that one's signature.


def attach(
    run: Run, before: Lockfile, after: Lockfile, *, tree: Tree, inventories: Mapping[str, Inventory]
) -> tuple[Lockfile, tuple[Change, ...]]:
    """A lockfile that names what belongs to its builds, and how the files are to change with it.

    A build gets its provenance when it is recorded, and a new one whenever its artifacts change: they are what it is
    about. What only the lockfile before named goes; git's history keeps it. `inventories` are those of new builds, by
    build id.
    """
    changes: list[Change] = []
    builds: list[Build] = []
    for build in after.builds:
        inside = inventories.get(build.id)
        if inside is not None and (build.inventory is None or build.inventory.digest != inside.digest):
            inside = None  # another run recorded the build meanwhile, with what it found itself
        sbom = _sbom(after.image, build, inside, tree)
        if build.inventory is not None and inside is not None:
            changes.append(Change(path=f"{FOLDER}/{build.inventory.sbom}", content=sbom))
        if _is_new(build, before.build(build.id)):
            attested = attest(
                build,
                origin(run.repository, run.known, after.image, branch=run.target.branch),
                sbom=sbom,
                sign=lambda content: _signed(run, content),
                signer=signer(run.repository.git) if run.known.fleet.settings.git.sign else None,
            )
            changes += [Change(path=path, content=content) for path, content in attested.files.items()
                        if content is not None or path in tree.entries]  # fmt: skip
            builds.append(attested.build)
        else:
            if build.provenance is None:
                changes += _left_over(after.image, build, tree)
            builds.append(build)
    named = after.model_copy(update={"builds": tuple(builds)})
    return named, (*changes, *detach(before, named, tree=tree))


def _left_over(image: str, build: Build, tree: Tree) -> tuple[Change, ...]:
    """The removal of provenance that is there for a build whose record names none, as a lost lockfile leaves it."""
    path = f"{FOLDER}/{provenance_path(image, build.id)}"
    return tuple(Change(path=one, content=None) for one in (path, signature_path(path)) if one in tree.entries)


def detach(before: Lockfile, after: Lockfile | None, *, tree: Tree) -> tuple[Change, ...]:
    """The removal of every file that a lockfile named and the next one does not."""
    gone = named(before) - (named(after) if after is not None else frozenset())
    return tuple(Change(path=path, content=None) for path in sorted(gone) if path in tree.entries)


def _is_new(build: Build, before: Build | None) -> bool:
    """Whether a build's provenance is to be written. One that was recorded without stays without.

    What was taken as it was found has none, nor what only its tags tell of: nobody here saw it being made.
    """
    if before is None or before.provenance is None:
        return before is None and build.was_watched
    return before.artifacts != build.artifacts or record_digest(before) != record_digest(build)


def _sbom(image: str, build: Build, inventory: Inventory | None, tree: Tree) -> bytes | None:
    if build.inventory is None:
        return None
    if inventory is not None:
        return render_sbom(image, build.id, inventory)
    return content_at(tree, f"{FOLDER}/{build.inventory.sbom}")


def origin(repository: Repository, known: Known, image: str, *, branch: str) -> Origin:
    """Where the record of an image's builds stands: on a branch of this repository."""
    remote = known.fleet.settings.git.remote
    name = repository.name(remote) if repository.remote(remote) is not None else None
    return Origin(fleet=known.fleet_name, image=image, repository=name, branch=branch)


def _signed(run: Run, content: bytes) -> bytes | None:
    if not run.known.fleet.settings.git.sign:
        return None
    return sign(run.repository.git, content, namespace=NAMESPACE)


def named(lock: Lockfile) -> frozenset[str]:
    """The paths, from the repository's root, of everything that a lockfile's builds name, also those that go away."""
    return frozenset(path for build in lock.recorded for path in paths_of(build))


def paths_of(build: Build) -> tuple[str, ...]:
    """The same of one build."""
    sbom = (build.inventory.sbom,) if build.inventory is not None else ()
    statement = (build.provenance, signature_path(build.provenance)) if build.provenance is not None else ()
    return tuple(f"{FOLDER}/{path}" for path in (*sbom, *statement))


def files_at(repository: Repository, build: Build, commit: str) -> Iterator[Change]:
    """The files that a build's record names, as a commit had them that recorded it: it is recorded anew with these."""
    then = repository.tree(commit)
    for path in paths_of(build):
        content = content_at(then, path)
        if content is not None:
            yield Change(path=path, content=content)


# Where what is inside a build is kept: in state/ once it is recorded, before that in a tag or beside the checkout.


def recorded_inventory(run: Run, build: Build | None) -> Inventory | None:
    """What is inside a build, as state/ has it; None where that was not recorded, or cannot be read."""
    if build is None or build.inventory is None:
        return None
    content = content_at(run.state, f"{FOLDER}/{build.inventory.sbom}")
    return _read(content, build) if content is not None else None


def previewed_inventory(run: Run, image: str, build: Build) -> Inventory | None:
    """What is inside a build that is in no lockfile yet, by its tag; None without one that counts and fits."""
    if build.inventory is None:
        return None
    tag = believed(run.repository.annotated_tag(sbom_tag_name(image, build.id)), sign=run.signs)
    content = tag.file() if tag is not None else None
    return _read(content, build) if content is not None else None


def unsaved_inventory(run: Run, image: str, build: Build) -> Inventory | None:
    """What is inside a build that passed its test here and could not be recorded; None without what fits its record."""
    if is_committed(run.known.tree, image):
        return None
    content = read_unsaved_sbom(run.repository.root, image)
    return _read(content, build) if content is not None else None


def sbom_tag(image: str, build: Build, inventory: Inventory) -> TagRequest:
    """The annotated tag that carries what is inside a preview until its merge."""
    return TagRequest(
        name=sbom_tag_name(image, build.id),
        target="",
        message=f"{image} {build.id}: what is inside, as CycloneDX",
        content=render_sbom(image, build.id, inventory),
    )


def difference_made(run: Run, before: Build | None, inventory: Inventory | None) -> Difference | None:
    """What changed inside since a recorded build; None where one of the two is not known."""
    was = recorded_inventory(run, before)
    return difference(was, inventory) if was is not None and inventory is not None else None


def _read(content: bytes, build: Build) -> Inventory | None:
    try:
        found = read_sbom(content)
    except UserError:
        return None  # somebody wrote there what is no SBOM of ours: as good as none
    return found if build.inventory is not None and found.digest == build.inventory.digest else None
