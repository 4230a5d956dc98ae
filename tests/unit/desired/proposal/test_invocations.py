"""How a repository runs Packer, read from its Makefiles, scripts and CI files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.desired.contents import Contents
from reconciler.desired.proposal.ci_files import Written, steps
from reconciler.desired.proposal.commands import files_to_search
from reconciler.desired.proposal.invocations import Invocation, invocations
from reconciler.model.errors import Place
from reconciler.model.tree import TreeEntry
from tests.cpu import cpu_seconds

TEMPLATES = {
    "packer/web.pkr.hcl": "", "packer/db.pkr.hcl": "", "legacy.json": "{}", "images/api/api.pkr.hcl": "",
    "images/cart/cart.pkr.hcl": "", "packer/vars/dev.pkrvars.hcl": "", "packer/vars/prod.pkrvars.hcl": "",
    "common.pkrvars.hcl": "",
}  # fmt: skip


@dataclass(frozen=True)
class Files:
    """A tree of texts."""

    texts: Mapping[str, str]
    oid: str = "tree"
    below: str = ""

    @property
    def entries(self) -> Mapping[str, TreeEntry]:
        return {path: TreeEntry(path, "100644", path) for path in sorted(self.texts)}

    def read(self, oids: Iterable[str], *, most: int | None = None) -> Mapping[str, bytes]:
        contents = {oid: self.texts[oid].encode(errors="surrogateescape") for oid in oids}
        return {oid: content for oid, content in contents.items() if most is None or len(content) <= most}


def found(**files: str) -> list[Invocation]:
    """What is found in files, each named by its path with `__` for `/` and `_` for `.`."""
    texts = {name.replace("__", "/").replace("_", "."): text for name, text in files.items()}
    return found_in(texts)


def found_in(texts: Mapping[str, str]) -> list[Invocation]:
    contents = Contents(Files({**TEMPLATES, **texts}))
    contents.load(files_to_search(contents.paths))
    return list(invocations(contents).runs)


def brief(one: Invocation) -> tuple[str, str, tuple[str, ...]]:
    return one.template, one.folder, one.var_files


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("packer build packer/web.pkr.hcl", ("packer/web.pkr.hcl", ".", ())),
        ("@cd packer && packer build -color=false web.pkr.hcl", ("packer/web.pkr.hcl", "packer", ())),
        ("packer init packer && packer build -force packer", ("packer", ".", ())),
        ("packer build legacy.json # all of it", ("legacy.json", ".", ())),
        ("packer build --var-file=common.pkrvars.hcl packer", ("packer", ".", ("common.pkrvars.hcl",))),
        ("packer build -var-file common.pkrvars.hcl packer", ("packer", ".", ("common.pkrvars.hcl",))),
        ("packer -machine-readable build packer | tee log", ("packer", ".", ())),
        ("$(PACKER) build ./packer/", ("packer", ".", ())),
        ("docker run --rm hashicorp/packer:1.9 build packer", ("packer", ".", ())),
        ('(cd "images/api" ; packer build . )', ("images/api", "images/api", ())),
        ("packer build 'packer/web.pkr.hcl' > log 2>&1", ("packer/web.pkr.hcl", ".", ())),
    ],
)
def test_a_command_in_a_makefile(recipe: str, expected: tuple[str, str, tuple[str, ...]]) -> None:
    (one,) = found(Makefile=f"all:\n\t{recipe}\n")
    assert brief(one) == expected
    assert str(one.place) == "Makefile:2"


def test_a_makefile_runs_where_it_is_and_its_variables_are_known() -> None:
    makefile = (
        "TEMPLATE ?= web.pkr.hcl\nVARS := vars\nFILE = $(VARS)/prod.pkrvars.hcl\n"
        "build: init\n\tpacker build \\\n\t  -var-file=$(FILE) \\\n\t  -var 'name=x=y' "
        '-var "build=$(shell date)" \\\n'
        "\t  -only='amazon-ebs.web,amazon-ebs.db' ${TEMPLATE}\n"
    )
    (one,) = found(packer__Makefile=makefile)

    assert brief(one) == ("packer/web.pkr.hcl", "packer", ("packer/vars/prod.pkrvars.hcl",))
    assert (dict(one.variables), one.unknown) == ({"name": "x=y"}, ("build",))
    assert one.only == ("amazon-ebs.web", "amazon-ebs.db")
    assert one.place.line == 5


def test_what_only_make_knows_may_be_whatever_fits() -> None:
    makefile = "%:\n\tpacker build -var-file=common.pkrvars.hcl images/$@\n"
    assert sorted(brief(one) for one in found(Makefile=makefile)) == [
        ("images/api", ".", ("common.pkrvars.hcl",)), ("images/cart", ".", ("common.pkrvars.hcl",)),
    ]  # fmt: skip


def test_a_var_file_that_only_the_shell_knows_may_be_each_that_fits() -> None:
    script = '#!/bin/sh\ncd packer\npacker build -var-file="vars/$1.pkrvars.hcl" web.pkr.hcl\n'
    assert sorted(brief(one) for one in found(build_sh=script)) == [
        ("packer/web.pkr.hcl", "packer", ("packer/vars/dev.pkrvars.hcl",)),
        ("packer/web.pkr.hcl", "packer", ("packer/vars/prod.pkrvars.hcl",)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    ['echo "usage: packer build packer"', "echo usage: packer build packer >&2; exit 1", "@echo packer build packer",
     "[ -n x ] || printf '%s' 'packer build packer'", "cat <<EOF\nUsage: packer build packer\nEOF",
     "  cat >&2 <<-'END'\n\tpacker build packer\n\tEND"],
)  # fmt: skip
def test_a_command_that_is_only_said_is_none(line: str) -> None:
    assert found(build_sh=f"{line}\n") == []
    assert [brief(one) for one in found(build_sh=f"{line}\npacker build images/api\n")] == [("images/api", ".", ())]


@pytest.mark.parametrize(
    "line",
    ['echo "now" && packer build packer', "ssh x <<EOF\npacker build packer\nEOF", "(echo x; packer build packer)"],
)
def test_a_command_after_what_is_said_is_one(line: str) -> None:
    assert [brief(one) for one in found(build_sh=f"{line}\n")] == [("packer", ".", ())]


MATRIX = """\
jobs:
  build:
    parameters: {env: {type: string}}
    steps: [run: make build ENV=<< parameters.env >>]
workflows: {w: {jobs: [build: {matrix: {parameters: {env: [dev, prod]}}}]}}
"""
IN_ENVIRONMENT = "build: {variables: {ENV: prod}, script: [make build]}\n"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (".circleci/config.yml", MATRIX),
        (".github/workflows/b.yml", "jobs: {b: {steps: [{run: make build ENV=prod}]}}\n"),
        (".gitlab-ci.yml", IN_ENVIRONMENT),
        ("ci.sh", "ENV=prod make -C . build\n"),
        ("ci.sh", "export ENV=prod\nmake -j 2 build\n"),
        ("more.mk", "live:\n\t$(MAKE) build ENV=prod\n"),
        ("more.mk", "live: ENV = prod\nlive: build\n"),
        ("more.mk", "live:\n\t$(MAKE) some E=prod\nsome:\n\t$(MAKE) build ENV=$(E)\n"),
        ("ci.sh", "make build ENV=$1\n"),
    ],
)
def test_an_environment_that_a_caller_of_make_chooses_counts_as_the_one_of_the_makefile(path: str, text: str) -> None:
    makefile = (
        "ENV ?= dev\nbuild:\n\tcd packer && packer build -var-file=vars/$(ENV).pkrvars.hcl -var v=$(V) .\n"
        "deploy:\n\techo $(ENV)\n"
    )
    built = [(one.template, one.var_files, one.place.line) for one in found_in({"Makefile": makefile, path: text})]
    assert built == [("packer", (f"packer/vars/{env}.pkrvars.hcl",), 3) for env in ("dev", "prod")]


def test_what_make_is_told_for_another_goal_counts_for_nothing() -> None:
    makefile = "ENV ?= dev\nbuild:\n\tpacker build -var-file=packer/vars/$(ENV).pkrvars.hcl packer\ndeploy:\n\ttrue\n"
    (one,) = found(Makefile=makefile, ci_sh="make deploy ENV=prod\n")
    assert one.var_files == ("packer/vars/dev.pkrvars.hcl",)


@pytest.mark.parametrize(
    "defined",
    ["define build\ncd images/$(1) && packer build -var-file=../../packer/vars/$(2).pkrvars.hcl .\nendef\n",
     "build = cd images/$(1) && packer build -var-file=../../packer/vars/$(2).pkrvars.hcl .\n"],
)  # fmt: skip
def test_what_make_calls_is_built_as_it_is_called_and_nothing_else(defined: str) -> None:
    built = found(Makefile=f"{defined}all:\n\t$(call build,cart,prod)\n")
    assert [brief(one) for one in built] == [("images/cart", "images/cart", ("packer/vars/prod.pkrvars.hcl",))]
    assert str(built[0].place).startswith("Makefile:")
    assert found(Makefile=defined) == []


BUILDS = "cd images/{0} && packer build -var-file=../../packer/vars/{1}.pkrvars.hcl ."
OF_CIRCLECI = f"""\
commands:
  build:
    parameters: {{image: {{type: string}}, env: {{type: string, default: prod}}}}
    steps: [run: "{BUILDS.format("<< parameters.image >>", "<< parameters.env >>")}"]
  both:
    parameters: {{env: {{type: string, default: dev}}}}
    steps: [when: {{condition: true, steps: [build: {{image: api, env: << parameters.env >>}}]}}]
  never:
    steps: [run: packer build $IMAGE.json]
jobs:
  one: {{steps: [checkout, build: {{image: cart}}]}}
  two: {{steps: [both]}}
workflows: {{w: {{jobs: [one, two]}}}}
"""
HIDDEN = f".tpl: &t {{script: ['{BUILDS.format('$IMG', '$E')}']}}\n"
OF_GITLAB = HIDDEN + "one: {<<: *t, variables: {IMG: cart, E: prod}}\ntwo: {<<: *t, variables: {IMG: api, E: dev}}\n"
EXTENDED = (
    HIDDEN
    + ".more: {extends: .tpl, variables: {E: prod, IMG: none}}\none: {extends: [.more], variables: {IMG: cart}}\n"
    "two: {extends: .tpl, parallel: {matrix: [{IMG: [api], E: dev}]}}\n"
)


@pytest.mark.parametrize(
    ("path", "text"),
    [(".circleci/config.yml", OF_CIRCLECI), (".gitlab-ci.yml", OF_GITLAB), (".gitlab-ci.yml", EXTENDED)],
)
def test_what_jobs_have_in_common_runs_as_they_call_it_and_not_by_itself(path: str, text: str) -> None:
    assert sorted(brief(one) for one in found_in({path: text})) == [
        ("images/api", "images/api", ("packer/vars/dev.pkrvars.hcl",)),
        ("images/cart", "images/cart", ("packer/vars/prod.pkrvars.hcl",)),
    ]


def test_commands_and_jobs_that_take_each_other_in_without_end_are_read_in_a_moment() -> None:
    calls = ", ".join(f"c{n}: {{a: '<< parameters.a >>{n}'}}" for n in range(20))
    commands = "".join(f"  c{n}: {{steps: [{{{calls}}}, run: packer build packer]}}\n" for n in range(20))
    circleci = f"commands:\n{commands}jobs: {{j: {{steps: [{{{calls}}}]}}}}\n"
    names = ", ".join(f".j{n}" for n in range(200))
    gitlab = "".join(f".j{n}: {{extends: [{names}], script: [packer build packer]}}\n" for n in range(200))
    with cpu_seconds(20):
        files = {".circleci/config.yml": circleci, ".gitlab-ci.yml": f"{gitlab}j: {{extends: .j0}}\n"}
        assert {one.template for one in found_in(files)} == {"packer"}


@pytest.mark.parametrize(
    "script",
    [
        'for d in images/*/; do (cd "$d"; packer build -var-file=../../common.pkrvars.hcl .); done\n',
        'for d in images/*; do\n  (\n    cd "$d"\n    packer build -var-file=../../common.pkrvars.hcl .\n  )\ndone\n',
        'for d in images/*/; do packer build -var-file=common.pkrvars.hcl "$d"; done\n',
    ],
)
def test_a_loop_over_folders_is_followed_into_each(script: str) -> None:
    assert [(one.template, one.var_files) for one in found(build_sh=script)] == [
        (f"images/{name}", ("common.pkrvars.hcl",)) for name in ("api", "cart")
    ]


@pytest.mark.parametrize(
    "script",
    [
        'args=(-var-file=packer/vars/prod.pkrvars.hcl -var "a=b c")\npacker build "${args[@]}" packer\n',
        "args=(\n -var-file=packer/vars/prod.pkrvars.hcl #'\n)\nargs+=(-var 'a=b c')\npacker build ${args[@]} packer",
    ],
)
def test_the_words_of_an_array_are_words_of_the_command(script: str) -> None:
    (one,) = found(build_sh=script)
    assert (brief(one), one.variables) == (("packer", ".", ("packer/vars/prod.pkrvars.hcl",)), {"a": "b c"})


PROD = "packer/vars/prod.pkrvars.hcl"
OPTIONS = """\
run() {
  local template="$1"
  local vars="${2:-prod}"
  echo "building ${template}"
  if ! packer build -var-file="packer/vars/${vars}.pkrvars.hcl" "packer/${template}.pkr.hcl"; then
    exit 1
  fi
}
main() {
  run web || return
}
main "$@"
"""
DISPATCH = """\
usage() {
  awk '{ print $1 }' README
}
everything() {
  build web "$1"
}
build()
{
  cd packer || exit 1
  packer build -var-file="vars/$2.pkrvars.hcl" "${1:?name}.pkr.hcl"
}
case "${1:-}" in
  all) everything prod ;;
  *) usage ;;
esac
"""


@pytest.mark.parametrize(
    "script",
    [
        f'build() {{ packer build -var-file={PROD} "$1"; }}; build packer/web.pkr.hcl\n',
        """
        build() {
          local t=$1 e
          e=$2
          cd packer && packer build -var-file="vars/$e.pkrvars.hcl" "$t"
        }
        build web.pkr.hcl prod >log 2>&1
        """,
        """
        function build {
          local name=$1; shift 1
          (cd packer && packer build "$@" $name)
        }
        build web.pkr.hcl -var-file=vars/prod.pkrvars.hcl
        """,
        f"""
        function build() {{ packer build "${{@:2}}" ${{1}}; }}
        X=1 build 'packer/web.pkr.hcl' "-var-file=common.pkrvars.hcl" -var-file={PROD}
        """,
        f'p() {{ packer "$@"; }}\np build -var-file={PROD} packer/web.pkr.hcl\n',
        f"""
        inner() {{ packer build "$@"; }}
        outer() {{ inner "$@" "packer/$NAME"; }}
        NAME=web.pkr.hcl; outer -var-file={PROD}
        """,
        OPTIONS,
        DISPATCH,
    ],
)
def test_a_function_is_read_as_it_is_called(script: str) -> None:
    (one,) = found(build_sh=script)
    files = [file for file in one.var_files if file != "common.pkrvars.hcl"]
    assert (one.template, files) == ("packer/web.pkr.hcl", [PROD])
    assert "packer" in script.splitlines()[(one.place.line or 0) - 1], "the line of its function"
    (again,) = found_in({".circleci/config.yml": yaml.safe_dump({"jobs": {"j": {"steps": [{"run": script}]}}})})
    assert brief(again) == brief(one)
    *lines, call_ = script.rstrip().splitlines()
    if not call_.startswith(("esac", "build()")):
        gitlab = {"j": {"before_script": ["\n".join(lines)], "script": [call_]}}
        (again,) = found_in({".gitlab-ci.yml": yaml.safe_dump(gitlab)})
        assert brief(again) == brief(one)


@pytest.mark.parametrize(
    "script",
    [
        'build() { packer build "images/$1"; }\nbuild "$1"\n',
        'build() { packer build "images/$1"; }\n"$@"\n',
        'build() { packer build "images/$2"; }\nbuild x "$@"\n',
        'a() { b "$1"; }\nb() { a "$1"; packer build images/$1; }\n"$@"\n',
        'build() {\n  packer build "images/$1"\n',
        "build() { packer build images/$1; }\nfor i in api cart; do build $i; done\n",
        "build() { packer build images/$1; }\nbuild $(cat names)\n",
    ],
)
def test_a_function_of_whose_calls_nothing_is_known_may_build_whatever_fits(script: str) -> None:
    assert [one.template for one in found(build_sh=script)] == ["images/api", "images/cart"]


FUNCTIONS_WITHOUT_END = {
    "that call each other": "".join(
        f"f{n}() {{ {'; '.join(f'f{m} $@ $@' for m in range(150))}; packer build packer; }}\n" for n in range(150)
    ),
    "that do not end": "f() {\n" * 50_000,
    "given more and more": "f() { g "
    + "$@" * 5000
    + "; packer build packer; }\ng() { f "
    + "$@ " * 5000
    + "; }\nf a b\n",
    "called often": "f() { cd " + "x/" * 5000 + "; packer build packer; }\n" + "f 1; f 2; f 3\n" * 20_000,
    "in an open quote": "f() { packer build packer; }\n" + ("f " + '"$(' * 5000 + "\n") * 10,
}


@pytest.mark.parametrize("text", FUNCTIONS_WITHOUT_END.values(), ids=FUNCTIONS_WITHOUT_END)
def test_functions_without_end_are_read_in_a_moment(text: str) -> None:
    with cpu_seconds(20):
        ways = found(build_sh=f"packer build packer/web.pkr.hcl\n{text}")
    assert ways[0].template == "packer/web.pkr.hcl"


@pytest.mark.parametrize(
    "command",
    [
        "docker run -v $PWD:/w -w /w/packer hashicorp/packer build WEB",
        'podman run --rm -v "$(pwd)/packer":/w:z --workdir=/w packer:1.9 build WEB',
        "docker run --mount type=bind,source=.,target=/mnt/x hashicorp/packer:latest build IN/mnt/x/packer",
        'cd packer && docker run -v "$PWD:$PWD" -w "$PWD" i packer build WEB',
        "docker container run -v ~/.aws:/aws -v ./packer:/p -w /p --entrypoint packer i packer build IN/p",
        'packer() { docker run -v "`pwd`":/w -w /w/packer hashicorp/packer "$@"; }; packer build WEB',
        "docker compose -f compose.yaml run --rm packer build WEB",
        "docker-compose run -w /w/packer/vars packer build -var-file=prod.pkrvars.hcl ../web.pkr.hcl",
        "docker run -w /w hashicorp/packer; cd packer; packer build WEB",
    ],
)
def test_packer_in_a_container_runs_where_that_has_the_repository(command: str) -> None:
    compose = (
        "services: {packer: {volumes: ['.:/w:ro', 'cache:/c', {source: ./x, target: /x}], working_dir: /w/packer}}\n"
    )
    command = command.replace("WEB", "-var-file=vars/prod.pkrvars.hcl web.pkr.hcl")
    command = re.sub(r"IN(\S+)", r"--var-file \1/vars/prod.pkrvars.hcl \1/web.pkr.hcl", command)
    files = {"ci.sh": f"{command}\n", "compose.yaml": compose, "docker-compose.dev.yml": "packer: [\n"}
    (one,) = found_in(files)
    assert (one.template, one.var_files, one.place.path) == ("packer/web.pkr.hcl", (PROD,), "ci.sh")


OF_AZURE = """\
parameters:
  - {name: images, type: object, default: [{name: api, file: common}, {name: cart, file: common}]}
variables: [{group: x}, {name: SUFFIX, value: pkrvars}]
steps:
  - ${{ each image in parameters.images }}:
      - ${{ if eq(variables['Build.Reason'], 'Schedule') }}:
          - bash: packer build -var-file=../../${{ image.file }}.$(SUFFIX).hcl .
            workingDirectory: $(Build.SourcesDirectory)/images/${{ image.name }}
"""
BY_TEMPLATE = {
    "azure-pipelines.yml": "jobs: [{template: ci/image.yml, parameters: {image: api}}, template: /ci/image.yml@self]\n",
    "ci/image.yml": "parameters: {image: cart}\njobs:\n  - steps: [template: no.yml, parameters: {a: x}]\n  - steps:\n"
    "    - task: Bash@3\n      inputs:\n        workingDirectory: images\n"
    "        script: packer build -var-file=../common.pkrvars.hcl ${{ parameters['image'] }}\n",
}
IN_A_MATRIX = (
    "jobs: [{strategy: {matrix: {a: {IMG: api}, b: {IMG: cart}}}, steps: "
    "[{script: packer build -var-file=common.pkrvars.hcl images/$(IMG)}]}]\n"
)
OF_GITHUB = "runs: {steps: [{run: 'packer build -var-file=common.pkrvars.hcl images/${{ inputs.image }}'}]}\n"
LOCAL_ACTION = {
    ".github/actions/image/action.yml": "inputs: {image: {default: cart}, x: {}}\n" + OF_GITHUB,
    ".github/workflows/a.yml": "jobs: {a: {steps: [{uses: ./.github/actions/image, with: {image: api}}]}, "
    "b: {steps: [{uses: ./.github/actions/image/}]}, c: {uses: ./none, steps: [{uses: org/x@v1}]}}\n",
}
CALLED_WORKFLOW = {
    ".github/workflows/called.yml": "on: {workflow_call: {inputs: {image: {default: cart}}}}\n"
    + OF_GITHUB.replace("runs: ", "jobs: {j: ").replace("}]}\n", "}]}}\n"),
    ".github/workflows/a.yml": "jobs: {a: {strategy: {matrix: {image: [api, cart]}}, "
    "uses: ./.github/workflows/called.yml, with: {image: '${{ matrix.image }}'}}}\n",
}
INCLUDES = {
    ".gitlab-ci.yml": "include: [{local: /ci/a.yml}, remote: 'https://x/y', ci/b.yml]\n.c: {variables: {IMG: cart}}\n",
    "ci/a.yml": "include: {local: [.gitlab-ci.yml, ci/a.yml, ci/none.yml]}\na: {extends: .b, variables: {IMG: api}}\n"
    ".c: {variables: {IMG: none}}\nc: {extends: [.b, .c]}\n",
    "ci/b.yml": ".b:\n  script:\n  - packer build -var-file=common.pkrvars.hcl images/$IMG\n",
}


@pytest.mark.parametrize(
    "texts",
    [
        {"azure-pipelines.yml": OF_AZURE}, BY_TEMPLATE, {".azure/images.yml": IN_A_MATRIX},
        LOCAL_ACTION, CALLED_WORKFLOW, INCLUDES,
    ],
    ids=["values", "templates", "matrix", "action", "workflow", "include"],
)  # fmt: skip
def test_what_a_ci_file_takes_in_of_others_is_read_with_what_it_gives(texts: Mapping[str, str]) -> None:
    built = found_in(texts)
    assert sorted((one.template, one.var_files) for one in built) == [
        (f"images/{name}", ("common.pkrvars.hcl",)) for name in ("api", "cart")
    ]
    for one in built:
        assert "packer build" in texts[one.place.path].splitlines()[(one.place.line or 0) - 1]


def test_what_is_called_and_runs_by_itself_is_read_as_both() -> None:
    texts = {path: text.replace("on: {", "on: {push: {}, ") for path, text in CALLED_WORKFLOW.items()}
    texts[".github/workflows/a.yml"] = texts[".github/workflows/a.yml"].replace("[api, cart]", "[none]")
    assert [one.template for one in found_in(texts)] == ["images/api", "images/cart"]


KEYS = st.sampled_from([
    "steps", "jobs", "stages", "template", "parameters", "extends", "include", "local", "uses", "with", "inputs",
    "runs", "variables", "strategy", "matrix", "name", "value", "default", "script", "./.github/x", "x.yml", "./x.yml",
    True, 1, None,
    "${{ each a in parameters.b }}", "${{ if x }}", "${{ insert }}", "${{ a }}", "${{ parameters.b['c'] }}",
    "packer build packer", "on", "workflow_call", "parallel",
])  # fmt: skip
NESTED = st.recursive(
    KEYS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=25
)


@given(NESTED, NESTED, st.sampled_from([".gitlab-ci.yml", ".github/workflows/a.yml", "azure-pipelines.yml"]))
def test_whatever_ci_files_take_in_ends_no_run(value: object, other: object, path: str) -> None:
    texts = {
        name: yaml.safe_dump(one) for name, one in ((path, value), ("x.yml", other), (".github/x/action.yml", other))
    }
    found_in({**texts, "Makefile": "a:\n\tpacker build packer\n"})


def test_files_that_take_each_other_in_without_end_are_read_in_a_moment() -> None:
    more = ", ".join(f"{{template: t{n}.yml, parameters: {{a: '${{{{ parameters.a }}}}x'}}}}" for n in range(20))
    each = "{" + ", ".join(f"'${{{{ each i{n} in parameters.l }}}}'" for n in range(5)) + "}"
    texts = {
        name: f"parameters: {{l: [{', '.join('abcdefgh' * 8)}]}}\nsteps: [{more}, {each}, a: packer build packer]\n"
        for name in ("azure-pipelines.yml", *(f"t{n}.yml" for n in range(20)))
    }
    nested = "packer build packer"
    for n in range(20):
        nested = f"[{{'${{{{ each i{n} in parameters.l }}}}': {nested}}}]"
    texts["azure-pipelines-2.yml"] = f"parameters: {{l: [{', '.join('abcdefgh' * 8)}]}}\nsteps: {nested}\n"
    with cpu_seconds(20):
        assert {one.template for one in found_in(texts)} == {"packer"}


def test_a_line_may_set_something_and_then_build() -> None:
    (one,) = found(build_sh='D=packer; E="prod" && packer build -var-file=$D/vars/$E.pkrvars.hcl $D/web.pkr.hcl\n')
    assert brief(one) == ("packer/web.pkr.hcl", ".", (PROD,))


@pytest.mark.parametrize(
    "text",
    [
        "stage('x') { steps { dir('packer') { sh 'packer build -var-file=vars/prod.pkrvars.hcl .' } } }\n",
        "ws { dir(path: 'packer') { sh(script: 'packer build -force .', returnStdout: true) } }\n",
        "dir('images') {\n  sh 'x ${X}'\n}\ndir(\"packer\") {\n  sh '''\n  packer build \\\n .\n  '''\n}\n",
    ],
)
def test_the_folder_of_a_step_of_jenkins_is_followed(text: str) -> None:
    (one,) = found_in({"Jenkinsfile": text, "x.pkr.hcl": ""})
    assert (one.template, one.folder) == ("packer", "packer")
    after = found_in({"Jenkinsfile": f"{text}sh 'packer build images/api'\n"})
    assert brief(after[-1]) == ("images/api", ".", ())


def test_a_target_of_which_nothing_is_known_is_where_its_var_file_is() -> None:
    files = {"images/api/prod.pkrvars.hcl": "", "b.sh": 'packer build -var-file=images/api/prod.pkrvars.hcl "$1"\n'}
    (one,) = found_in(files)
    assert (one.anything, *brief(one)) == (True, "images/api/api.pkr.hcl", ".", ("images/api/prod.pkrvars.hcl",))


def test_a_command_may_have_an_environment_of_its_own() -> None:
    (one,) = found(build_sh="PACKER_LOG=1 A='b c' packer build packer\n")
    assert one.template == "packer"


@pytest.mark.parametrize("rules", [60, pytest.param(1000, marks=pytest.mark.long)])
def test_makefiles_that_call_each_other_without_end_are_read_in_a_moment(rules: int) -> None:
    define = "".join(f"define d{n}\n$(call d{n},$(1))$(call d{n},$(1))\nendef\n" for n in range(50))
    called = "".join(f"t{n}: E = {n}\nt{n}: t*{n}% t{n + 1}\n\t$(MAKE) t{n + 1} E=$(E)$(E)\n" for n in range(rules))
    text = f"{define}{called}x:\n\t$(call d0,1)\n\tpacker build packer\n"
    with cpu_seconds(20):
        assert {one.template for one in found(Makefile=text)} == {"packer"}


def test_a_script_is_called_from_the_root_or_runs_where_it_is() -> None:
    (root,) = found(packer__build_sh="packer build packer/web.pkr.hcl\n")
    (beside,) = found(packer__build_sh="packer build web.pkr.hcl\n")
    assert (root.folder, beside.folder) == (".", "packer")


@pytest.mark.parametrize(
    "text",
    [
        "I := api cart\n$(I):\n\tcd images/$@ && packer init . && packer build -var-file=../../common.pkrvars.hcl .\n",
        "all:\n\tfor i in api cart; do (cd images/$$i && packer build -var-file=../../common.pkrvars.hcl .); done\n",
    ],
)
def test_a_folder_that_only_make_knows_may_be_each_in_which_the_template_is(text: str) -> None:
    assert [brief(one) for one in found(Makefile=text)] == [
        (f"images/{name}", f"images/{name}", ("common.pkrvars.hcl",)) for name in ("api", "cart")
    ]


@pytest.mark.parametrize(
    "moves",
    ['cd "$(dirname "$0")"', "cd $(dirname ${BASH_SOURCE[0]})/", 'cd "$HERE"/packer/', "cd `dirname $0`/../packer"],
)
def test_a_script_that_changes_to_its_own_folder_runs_there_or_at_the_root(moves: str) -> None:
    script = f"set -e\n{moves}\npacker build -var-file=vars/$1.pkrvars.hcl web.pkr.hcl\n"
    assert [brief(one) for one in found(packer__build_sh=script)] == [
        ("packer/web.pkr.hcl", "packer", (f"packer/vars/{name}.pkrvars.hcl",)) for name in ("dev", "prod")
    ]


ACTIONS = """\
jobs:
  build:
    steps:
      - run: packer build web.pkr.hcl
        working-directory: packer
"""
PACKERS_ACTION = """\
jobs:
  build:
    steps:
      - uses: hashicorp/packer-github-actions@master
        with:
          command: build
          arguments: -color=false
          target: web.pkr.hcl
          working_directory: packer
"""
CIRCLE = """\
jobs:
  build:
    steps:
      - run:
          name: Build
          command: |
            cd packer
            packer build \\
              web.pkr.hcl
"""
DEFAULTS = """\
jobs:
  build:
    strategy: { matrix: { image: [api, cart] } }
    defaults: { run: { working-directory: "images/${{ matrix.image }}" } }
    steps:
      - run: packer init . && packer build .
  lint:
    steps: [{ run: packer validate images/cart }]
"""
MATRIX = """\
jobs:
  build:
    steps:
      - name: Build
        working-directory: images/a${{ matrix.rest }}
        run: packer build .
"""
ONE_SHELL = """\
build:
  before_script: [cd images/api]
  script:
    - export A=1
    - |
      packer build \\
        api.pkr.hcl
"""
GITLAB = "build:\n  script:\n    - packer validate packer\n    - packer build packer\n"
CODEBUILD = "phases:\n  build:\n    commands:\n      - cd packer && packer build .\n"
JENKINS = "pipeline { stages { stage('x') { steps { sh 'packer build packer' } } } }\n"


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (".github/workflows/images.yml", ACTIONS, ("packer/web.pkr.hcl", "packer", 4)),
        (".github/workflows/images.yaml", PACKERS_ACTION, ("packer/web.pkr.hcl", "packer", 0)),
        (".github/workflows/images.yml", MATRIX, ("images/api", "images/api", 6)),
        (".gitlab-ci.yml", ONE_SHELL, ("images/api/api.pkr.hcl", "images/api", 6)),
        (".circleci/config.yml", CIRCLE, ("packer/web.pkr.hcl", "packer", 8)),
        (".gitlab-ci.yml", GITLAB, ("packer", ".", 4)),
        ("buildspec.yml", CODEBUILD, ("packer", "packer", 4)),
        ("ci/Jenkinsfile", JENKINS, ("packer", ".", 1)),
    ],
)
def test_a_command_in_a_ci_file(path: str, text: str, expected: tuple[str, str, int]) -> None:
    (one,) = found_in({path: text})
    assert (one.template, one.folder, one.place.line) == expected


def test_the_folder_that_a_job_runs_its_steps_in_is_that_of_each_step() -> None:
    assert [brief(one) for one in found_in({".github/workflows/images.yml": DEFAULTS})] == [
        ("images/api", "images/api", ()), ("images/cart", "images/cart", ()),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "script",
    [
        "(cd images/api && packer build .)\n(cd images/cart && packer build .)\n",
        "cd images\ncd api\npacker build .\ncd ..\npacker build cart\n",
        "pushd images/api >/dev/null\npacker build . >log 2>&1\npopd >/dev/null\npacker build images/cart\n",
        "api() {\n  cd images/api || return\n  packer build .\n}\n(api)\ncd images/cart; packer build .\n",
        "cd images/api\npacker build . # not: packer build packer\ncd -\npacker build >log 2>&1 images/cart\n",
        "(packer build images/api >/dev/null); packer build images/cart\n",
    ],
)
def test_a_folder_is_followed_through_a_script(script: str) -> None:
    assert [one.template for one in found(build_sh=script)] == ["images/api", "images/cart"]


@pytest.mark.parametrize("line", ["(" * 100_000, "cd a;" * 100_000, "f() {" * 50_000, "pushd a;" * 60_000])
def test_a_script_of_folders_without_end_is_read_in_a_moment(line: str) -> None:
    with cpu_seconds(60):
        found(build_sh=f"{line}\npacker build packer\n")


IN_MATRIX = """\
env: { ROOT: images }
jobs:
  build:
    strategy:
      matrix:
        image: [api, cart, old]
        size: [small]
        exclude: [{ image: old }]
        include: [{ image: cart, file: common.pkrvars.hcl }, { image: ../packer, file: packer/vars/dev.pkrvars.hcl }]
    defaults: { run: { working-directory: "${{ env.ROOT }}/${{ matrix.image }}" } }
    steps:
      - run: packer init .
      - run: packer build -var-file=$(git rev-parse --show-toplevel)/${{ matrix.file }} .
      - run: packer build "$ROOT/api"
        working-directory: .
"""
CALLED = """\
jobs:
  build:
    parameters: { image: { type: string }, folder: { type: string, default: images } }
    environment: { IMAGE: << parameters.image >> }
    steps:
      - run: packer build << parameters.folder >>/$IMAGE
workflows:
  all:
    jobs:
      - build: { image: api }
      - build: { name: the rest, matrix: { parameters: { image: [cart, none] } } }
      - build: { image: "web.pkr.hcl", folder: packer }
      - lint
"""
PARALLEL = """\
variables: { ROOT: images }
build:
  parallel: { matrix: [{ IMAGE: [api, cart], SIZE: 1 }, { IMAGE: ../packer, ROOT: vars }] }
  script: [packer build "$ROOT/$IMAGE"]
"""


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (
            ".github/workflows/images.yml",
            IN_MATRIX,
            {
                ("images/api", "images/api", ()), ("images/cart", "images/cart", ("common.pkrvars.hcl",)),
                ("packer", "packer", ("packer/vars/dev.pkrvars.hcl",)), ("images/api", ".", ()),
            },
        ),
        (
            ".circleci/config.yml",
            CALLED,
            {(one, ".", ()) for one in ("images/api", "images/cart", "packer/web.pkr.hcl")},
        ),
        (".gitlab-ci.yml", PARALLEL, {(one, ".", ()) for one in ("images/api", "images/cart", "packer")}),
    ],
)  # fmt: skip
def test_a_job_with_a_matrix_is_a_job_for_each_combination(path: str, text: str, expected: set[object]) -> None:
    assert {brief(one) for one in found_in({path: text})} == expected


# What GitHub says of `include` in its own documentation (docs.github.com, "Expanding or adding matrix configurations").
INCLUDED = """\
jobs:
  build:
    strategy:
      matrix:
        fruit: [apple, pear]
        animal: [cat, dog]
        include:
          - color: green
          - { color: pink, animal: cat }
          - { fruit: apple, shape: circle }
          - { fruit: banana }
          - { fruit: banana, animal: cat }
    steps:
      - run: make ${{ matrix.fruit }} ${{ matrix.animal }} ${{ matrix.color }} ${{ matrix.shape }}
"""


def test_what_a_matrix_includes_is_added_where_it_changes_nothing_and_stands_beside_elsewhere() -> None:
    ran = [step.given(step.written["run"]) for step in steps(yaml.safe_load(INCLUDED)) if "run" in step.written]
    assert [re.sub(r"\$\{\{.*?\}\}", "-", one) for one in ran] == [
        "make apple cat pink circle", "make apple dog green circle", "make pear cat pink -", "make pear dog green -",
        "make banana - - -", "make banana cat - -",
    ]  # fmt: skip


def test_of_more_runs_than_anybody_writes_none_is_told_apart() -> None:
    lists = "".join(f"{name}: [{', '.join(map(str, range(50)))}], " for name in "abcdefgh")
    build = "packer build images/a${{ matrix.a }}"
    text = f"jobs: {{build: {{strategy: {{matrix: {{{lists}}}}}, steps: [{{run: '{build}'}}]}}}}"
    assert [one.template for one in found_in({".github/workflows/x.yml": text})] == ["images/api"]


BOTH = "-var-file=/etc/packer/site.json -var-file=common.pkrvars.hcl"


@pytest.mark.parametrize(
    ("named", "var_files", "absent"),
    [
        ("-var-file=$(VAR_FILE)", (), ("*",)),
        ("-var-file=secrets.pkrvars.hcl", (), ("secrets.pkrvars.hcl",)),
        (BOTH, ("common.pkrvars.hcl",), ("/etc/packer/site.json",)),
        ("-var-file=vars/$(ENV).pkrvars.hcl", (), ("vars/*.pkrvars.hcl",)),
        ("-var-file=../$(ENV).pkrvars.hcl", (), ("../*.pkrvars.hcl",)),
        ("-var-file=$(ENV).pkrvars.hcl", ("common.pkrvars.hcl",), ()),
    ],
)
def test_a_var_file_that_is_not_there_is_said_and_takes_nothing_away(
    named: str, var_files: tuple[str, ...], absent: tuple[str, ...]
) -> None:
    (one,) = found(Makefile=f"all:\n\tpacker build {named} packer\n")
    assert (one.var_files, one.absent) == (var_files, absent)


@pytest.mark.parametrize(
    "here", ['HERE=$(cd "$(dirname "$0")" && pwd)', "HERE=${BASH_SOURCE%/*}", 'HERE="$(git rev-parse --show-toplevel)"']
)
def test_what_begins_where_the_script_is_and_is_quoted_in_part_is_found(here: str) -> None:
    text = (
        f'{here}\nVARS="$HERE"/packer/vars\nIMAGES="$HERE"/images/api/\n'
        'packer build -var-file="$VARS/dev.pkrvars.hcl" -var-file="${HERE}/common.pkrvars.hcl" "$IMAGES"\n'
    )

    (one,) = found(build_sh=text)

    assert brief(one) == ("images/api", ".", ("packer/vars/dev.pkrvars.hcl", "common.pkrvars.hcl"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "build.ps1",
            "packer build `\r\n  -var-file=.\\packer\\vars\\dev.pkrvars.hcl `\r\n  .\\packer\\web.pkr.hcl\r\n",
        ),
        ("build.cmd", "cd packer\r\npacker.exe build ^\r\n -var-file=vars\\dev.pkrvars.hcl web.pkr.hcl\r\n"),
        ("build.bat", "packer build -var-file=%~dp0\\packer\\vars\\dev.pkrvars.hcl %ROOT%\\packer\\web.pkr.hcl\r\n"),
        (
            "b/x.ps1",
            'packer build -var-file="$PSScriptRoot\\packer\\vars\\dev.pkrvars.hcl" "$here\\packer\\web.pkr.hcl"\r\n',
        ),
    ],
)
def test_scripts_of_windows_are_read(name: str, text: str) -> None:
    (one,) = found_in({name: text})

    assert (one.template, one.var_files) == ("packer/web.pkr.hcl", ("packer/vars/dev.pkrvars.hcl",))


def test_what_functions_of_make_within_functions_come_to_is_any_text() -> None:
    makefile = (
        "FILES := a.json b.json\n"
        'FLAGS := $(foreach f,$(abspath $(FILES)),-var-file="$(f)" )\n'
        "build-%:\n"
        "\tpacker build $(if $(findstring win,$@),$(WIN_FLAGS),$(FLAGS)) "
        '-var-file="packer/vars/$(subst build-,,$@).pkrvars.hcl" packer\n'
    )

    runs = found(Makefile=makefile)

    assert [(one.template, one.var_files, one.partly) for one in runs] == [
        ("packer", ("packer/vars/dev.pkrvars.hcl",), True), ("packer", ("packer/vars/prod.pkrvars.hcl",), True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "packer validate packer\n",
        "packer build $(TEMPLATE)\n",
        "packer build no-such.pkr.hcl\n",
        "packer build ../elsewhere\n",
        "packer build\n",
        "echo use the packer build system\n",
        "# packer build packer\n",
        "packer build -var-file=x 'unbalanced\n",
        "packer build \udcff\n",
    ],
)
def test_what_runs_no_template_that_is_there_is_nothing(text: str) -> None:
    assert found(Makefile=f"all:\n\t{text}") == []


@pytest.mark.parametrize("text", ["a: [", "- packer build packer\n- !!python/object:os.system x", "&a [*a]\n", "\t"])
def test_a_ci_file_that_is_no_yaml_is_read_as_text(text: str) -> None:
    """Whatever it is, it ends no run."""
    found_in({".github/workflows/x.yml": text})


def test_a_path_of_which_next_to_nothing_is_known_is_compared_in_a_moment() -> None:
    folder = "a" * 200
    recipe = f"all:\n\tcd {'a$(X)' * 100}b && packer build .\n\tpacker build {'a$(X)' * 100}b\n"
    assert found_in({"Makefile": recipe, f"{folder}/web.pkr.hcl": ""}) == []


def test_aliases_do_not_multiply_what_is_read() -> None:
    layers = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 30))
    (one,) = found_in({".github/workflows/x.yml": f"l0: &l0 [packer build packer]\n{layers}"})
    assert one.template == "packer"


HOSTILE = {
    "expressions that do not end": "${{" * 160_000,
    "fields that do not end": "{{" * 8000,
    "parameters that do not end": "<<" * 8000,
    "one long line": "packer build x " * 30_000,
    "flags of docker without end": "docker compose" + " -a b" * 3000 + " packer build x",
    "volumes without end": "docker run" + " -v $PWD:/w" * 1300 + " packer build /w/x",
    "many long lines": ("packer build x; ${{" * 800 + "\n") * 8,
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_script_is_read_in_a_moment(line: str) -> None:
    text = "packer build packer/web.pkr.hcl\n" + (line + "\n") * max(120_000 // len(line), 1)
    with cpu_seconds(20):
        ways = found_in({"build.sh": text})
    assert ways[0].template == "packer/web.pkr.hcl"


def test_an_environment_of_thousands_of_names_in_each_step_of_a_matrix_is_read_in_a_moment() -> None:
    names = ", ".join(f"A{number}: b" for number in range(18_000))
    steps_ = "".join(f'    - {{env: {{X: "{number}"}}, run: packer build packer/$W}}\n' for number in range(3000))
    matrix = ", ".join(map(str, range(64)))
    text = f"env: {{{names}}}\njobs:\n  a:\n    strategy: {{matrix: {{x: [{matrix}]}}}}\n    steps:\n{steps_}"
    with cpu_seconds(5):
        found_in({".github/workflows/a.yml": text})


OF_64 = f"jobs:\n  a:\n    strategy: {{matrix: {{x: [{', '.join(map(str, range(64)))}]}}}}\n    steps:\n"
BEYOND_WHAT_ANYBODY_WRITES = {
    "a matrix of steps": {".github/workflows/a.yml": OF_64 + "    - run: packer build packer/${{ matrix.x }}\n" * 4000},
    "an environment in each": {
        ".github/workflows/a.yml": OF_64 + "    - {run: packer build packer/$W, env: {W: '${{ matrix.x }}'}}\n" * 2000
    },
    "calls of make": {
        ".github/workflows/a.yml": OF_64 + "".join(f"    - run: make A=${{{{matrix.x}}}} b{n}\n" for n in range(4000)),
        "Makefile": "x:\n\tpacker build packer$(A)\n" + "".join(f"a%{n}:\n\t$(MAKE) x A={n}\n" for n in range(6000)),
    },
    "texts that YAML folds": {
        "buildspec.yml": "".join(f'- {{? "x"\n  : "\\x70acker build packer/$W{n}"}}\n' for n in range(4000))
    },
}


@pytest.mark.parametrize("texts", BEYOND_WHAT_ANYBODY_WRITES.values(), ids=BEYOND_WHAT_ANYBODY_WRITES)
def test_of_a_file_no_more_is_read_than_anybody_writes(texts: Mapping[str, str]) -> None:
    with cpu_seconds(12):
        found_in({**texts, "build.sh": "packer build packer\n"})


def test_a_line_of_a_ci_file_is_found_by_what_begins_there() -> None:
    texts = ["packer build packer", "make  x", "a: b", "'quoted'", "x" * 60]
    lines = [
        "steps:",
        "- run: packer build packer",
        "  - - make  x",
        "k: {z: a: b}",
        "j: \"'quoted'\"",
        f"- {'x' * 70}",
    ]
    written = Written({"a.yml": "\n".join(lines), "b.yml": "x: there\n- make  x\n"})
    assert [written.place_of(f"\n {one}\nmore", "a.yml").line for one in texts] == [2, 3, 4, 5, 6]
    assert written.place_of("there", "a.yml") == Place("b.yml", 1)
    assert {written.place_of(one, "a.yml") for one in ("elsewhere", " \n")} == {Place("a.yml")}


def test_yaml_whose_merges_come_to_terabytes_is_read_as_text() -> None:
    bomb = "a0: &a0 {k: v}\n" + "".join(
        f"a{number}: &a{number} {{<<: [{', '.join([f'*a{number - 1}'] * 10)}]}}\n" for number in range(1, 30)
    )
    text = f"{bomb}job:\n  script:\n  - packer build packer/web.pkr.hcl\n"
    with cpu_seconds(20):
        ways = found_in({".gitlab-ci.yml": text})
    assert [one.template for one in ways] == ["packer/web.pkr.hcl"]
