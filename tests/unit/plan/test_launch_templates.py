"""How a launch template stands, of whatever is there and wherever stable points."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.lockfile import Channels, Lockfile
from reconciler.model.observation import Template, TemplateVersion, version_words
from reconciler.model.publish import Published
from reconciler.plan.launch_templates import standing
from tests.unit.plan.test_publishing import IDS, a_build, artifact, locks

LOCATION = "us-east-1"
AT = Published(launch_template="web", location=LOCATION)
IMAGES = [*(artifact(one, LOCATION) for one in IDS), "ami-by-hand", "resolve:ssm:/images/web"]
SAYS = [*(version_words("web", one) for one in IDS), version_words("former", IDS[0]), "", "by hand"]


@st.composite
def templates(draw: st.DrawFn) -> Template:
    """A template with any versions, some of which are ours, and any default."""
    pairs = st.tuples(st.sampled_from(IMAGES), st.sampled_from(SAYS))
    drawn = draw(st.lists(pairs, min_size=1, max_size=6))
    versions = tuple(TemplateVersion(number, *one) for number, one in enumerate(drawn, start=1))
    return Template(
        "lt-1", draw(st.integers(1, len(versions))), versions, ours=draw(st.booleans()),
        misfit=draw(st.sampled_from([None, None, "it is arm64"])),
    )  # fmt: skip


@given(lock=locks(), template=st.none() | templates(), set_default=st.booleans())
def test_it_converges_in_one_step_with_one_version_a_build(
    lock: Lockfile,
    template: Template | None,
    set_default: bool,  # noqa: FBT001 - hypothesis names it
) -> None:
    found = standing(AT, lock, template, set_default=set_default)
    build = lock.build(lock.channels.stable)
    here = build.artifact_in(LOCATION) if build is not None else None
    if template is None or not template.ours:
        assert (found.change, found.version) == (None, None)
        assert found.refused
        return
    if build is None or here is None:
        assert found.change is None
        assert found.gone is (build is None)
        return
    there = template.of(build.id, here.id, recorded=None)
    assert found.version == (there.number if there else None), "what is there is taken"
    if found.refused:
        assert (template.misfit, found.change) == (found.refused, None)
        return
    after = template
    if found.change is not None:
        number = found.change.number or len(template.versions) + 1
        if found.change.number is None:
            made = TemplateVersion(number, here.id, version_words("web", build.id))
            after = replace(after, versions=(*after.versions, made))
        after = replace(after, default=number) if found.change.set_default else after
        assert len(list(found.change.reasons)) in (1, 2)
    again = standing(AT, lock, after, set_default=set_default)
    assert (again.change, again.refused, again.lacking) == (None, None, None)
    assert again.version is not None
    assert not set_default or after.launches == here.id
    assert set_default or after.default == template.default, "a default is nobody's but its owner's"


def test_what_another_build_or_a_hand_made_is_not_taken_for_ours() -> None:
    version = TemplateVersion(3, "ami-1", version_words("web", IDS[0]))
    assert version.is_of(IDS[0], "ami-1")
    assert not version.is_of(IDS[0], "ami-2")
    assert not version.is_of(IDS[1], "ami-1")
    assert not replace(version, says=f"like {IDS[0]}").is_of(IDS[0], "ami-1")
    assert replace(version, says=version_words("former", IDS[0])).is_of(IDS[0], "ami-1"), "of a renamed image"


def test_a_default_with_what_is_revoked_is_told_where_nothing_takes_its_place() -> None:
    bad, good = IDS[0], IDS[1]
    builds = (a_build(bad, revoked=True, locations=(LOCATION,)), a_build(good, revoked=False, locations=(LOCATION,)))
    lock = Lockfile(image="web", builds=builds, channels=Channels())

    def left(launches: str, *, set_default: bool = True) -> str | None:
        version = TemplateVersion(1, artifact(launches, LOCATION), version_words("web", launches))
        found = standing(AT, lock, Template("lt-1", 1, (version,), ours=True), set_default=set_default)
        assert found.gone
        return found.refused

    said = left(bad)
    assert said is not None
    assert said.startswith(f"its default stays version 1 with {artifact(bad, LOCATION)}, which is revoked")
    assert left(good) is None
    assert left(bad, set_default=False) is None, "whose default it is is not ours"
