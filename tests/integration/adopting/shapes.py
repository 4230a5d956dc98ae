"""Three repositories of Packer templates as people have them. Nothing in them knows of the reconciler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEBIAN = 'name = "debian-12-amd64-*"'


@dataclass(frozen=True)
class Shape:
    """A repository by its files, and what `init` makes of it: the images, and what it asks."""

    files: Mapping[str, str]
    images: Mapping[str, Mapping[str, object]]
    """`packer` of each image.yaml, by name, without `inputs`."""
    open: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def lay_out(self, folder: Path) -> None:
        """Write its files below a folder."""
        for path, text in self.files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            if text.startswith("#!"):
                file.chmod(0o755)


def _builder(name: str, *, user: str = "admin", more: str = "") -> str:
    return f"""\
source "amazon-ebs" "{name}" {{
  region        = var.region
  instance_type = "t3.micro"
  ssh_username  = "{user}"
  ami_name      = "{name}-${{local.stamp}}"
  source_ami_filter {{
    filters     = {{ {DEBIAN} }}
    owners      = ["136693071363"]
    most_recent = true
  }}
{more}}}
"""


# A folder of HCL2 files that share their variables, run from the root by make, with scripts beside the folder.
FOLDER = Shape(
    files={
        "Makefile": (
            "VARS ?= packer/env/production.pkrvars.hcl\n"
            "images:\n\tpacker init packer\n\tpacker build -color=false -var-file=$(VARS) packer\n"
        ),
        "packer/variables.pkr.hcl": (
            'variable "region" { type = string }\nvariable "release" { type = string }\n'
            'locals { stamp = formatdate("YYYYMMDDhhmmss", timestamp()) }\n'
        ),
        "packer/web.pkr.hcl": _builder("web"),
        "packer/worker.pkr.hcl": _builder("worker"),
        "packer/build.pkr.hcl": (
            "build {\n"
            '  sources = ["source.amazon-ebs.web", "source.amazon-ebs.worker"]\n'
            '  provisioner "shell" {\n'
            '    environment_vars = ["RELEASE=${var.release}"]\n'
            '    scripts          = ["scripts/common.sh", "scripts/release.sh"]\n'
            "  }\n"
            '  provisioner "file" {\n'
            '    only        = ["amazon-ebs.worker"]\n'
            '    source      = "files/worker.conf"\n'
            '    destination = "/tmp/worker.conf"\n'
            "  }\n"
            "}\n"
        ),
        "packer/env/production.pkrvars.hcl": 'region  = "us-east-1"\nrelease = "7"\n',
        "packer/env/staging.pkrvars.hcl": 'region  = "eu-west-1"\nrelease = "8-rc"\n',
        "scripts/common.sh": "#!/bin/sh -e\nuname -a\n",
        "scripts/release.sh": '#!/bin/sh -e\necho "$RELEASE" | sudo tee /etc/release-of-image\n',
        "files/worker.conf": "queue = default\n",
        "README.md": "Golden images. `make images` builds them.\n",
    },
    images={
        name: {
            "template": "/packer",
            "working_dir": "/",
            "only": [f"amazon-ebs.{name}"],
            "var_files": ["/packer/env/production.pkrvars.hcl"],
        }
        for name in ("web", "worker")
    },
)


def _legacy(name: str, script: str) -> str:
    return f"""\
{{
  "variables": {{"region": null, "{name}_version": "1.4", "build": ""}},
  "builders": [
    {{
      "type": "amazon-ebs",
      "region": "{{{{user `region`}}}}",
      "instance_type": "t3.micro",
      "ssh_username": "admin",
      "ami_name": "{name}-{{{{user `{name}_version`}}}}-{{{{timestamp}}}}",
      "source_ami_filter": {{
        "filters": {{"name": "debian-12-amd64-*"}},
        "owners": ["136693071363"],
        "most_recent": true
      }}
    }},
    {{"type": "docker", "image": "debian:12", "commit": true}}
  ],
  "provisioners": [{{"type": "shell", "script": "{{{{template_dir}}}}/{script}"}}]
}}
"""


# JSON templates from before HCL2, each in a folder with its scripts, built by a CI workflow that gives them values.
JSON = Shape(
    files={
        ".github/workflows/images.yml": (
            "on: push\n"
            "jobs:\n"
            "  images:\n"
            "    runs-on: ubuntu-latest\n"
            "    env: { BUILD: '${{ github.run_number }}' }\n"
            "    steps:\n"
            "      - uses: actions/checkout@v4\n"
            "      - name: Build the proxy\n"
            "        working-directory: images/proxy\n"
            "        run: |\n"
            "          packer validate -var-file=../common.json packer.json\n"
            "          packer build -only=amazon-ebs -var-file=../common.json \\\n"
            '            -var "build=$BUILD" -var proxy_version=1.5 packer.json\n'
            "      - name: Build the cache\n"
            "        run: packer build -var-file images/common.json images/cache/packer.json\n"
        ),
        "images/common.json": '{"region": "us-east-1"}\n',
        "images/proxy/packer.json": _legacy("proxy", "setup.sh"),
        "images/proxy/setup.sh": "#!/bin/sh -e\necho proxy | sudo tee /etc/kind\n",
        "images/cache/packer.json": _legacy("cache", "../shared/setup.sh"),
        "images/shared/setup.sh": "#!/bin/sh -e\necho cache | sudo tee /etc/kind\n",
    },
    images={
        "cache": {
            "template": "/images/cache/packer.json",
            "working_dir": "/",
            "only": ["amazon-ebs"],
            "var_files": ["/images/common.json"],
        },
        "proxy": {
            "template": "/images/proxy/packer.json",
            "working_dir": "/images/proxy",
            "only": ["amazon-ebs"],
            "variables": {"proxy_version": "1.5"},
            "var_files": ["/images/common.json"],
        },
    },
    open=(".github/workflows/images.yml:12 gives build a value that is only known there",),
    left_out=("images/cache/packer.json (docker)", "images/proxy/packer.json (docker)"),
)


def _service(name: str) -> str:
    # It finds its source by itself, and is built on nothing that is declared.
    return (
        'variable "region" {\n  type    = string\n  default = "us-east-1"\n}\n'
        f'locals {{ stamp = formatdate("YYYYMMDDhhmmss", timestamp()) }}\n{_builder(name)}'
        "build {\n"
        f'  sources = ["source.amazon-ebs.{name}"]\n'
        '  provisioner "shell" { script = "${path.root}/setup.sh" }\n'
        '  provisioner "file" {\n'
        '    source      = "${path.root}/../../../libs/motd"\n'
        '    destination = "/tmp/motd"\n'
        "  }\n"
        "}\n"
    )


# A repository of services, where each has its template deep below; nobody says how Packer is run.
MONOREPO = Shape(
    files={
        "libs/motd": "Welcome\n",
        **{
            path: text
            for name in ("cart", "search")
            for path, text in {
                f"services/{name}/main.go": "package main\n",
                f"services/{name}/packer/template.pkr.hcl": _service(name),
                f"services/{name}/packer/setup.sh": f"#!/bin/sh -e\necho {name} | sudo tee /etc/service\n",
                f"services/{name}/package.json": '{"name": "x", "builders": "none"}\n',
            }.items()
        },
        "services/cart/node_modules/x/packer.json": '{"builders": [{"type": "amazon-ebs"}]}\n',
    },
    images={
        name: {"template": f"/services/{name}/packer", "working_dir": f"/services/{name}/packer"}
        for name in ("cart", "search")
    },
)

SHAPES = {"folder": FOLDER, "json": JSON, "monorepo": MONOREPO}
