"""The AWS that fits on a laptop: real Packer, real SSH, real apt; only AWS is stood in for, by moto.

From the outside in:

- `launch` starts a sandbox, attaches to a running one, and ends it; `handle` is what it returns.
- `server` is the sandbox's own process. It puts together everything below, and takes it apart.
- `proxy`, `endpoint` and `control` are the doors: AWS over HTTPS_PROXY, AWS over a plain URL, and the
  sandbox's own levers.
- `traffic` counts and disturbs calls; `ec2`, `images`, `groups`, `refreshes`, `catalogue`, `permissions` and the like
  are where moto ends and AWS as people know it begins.
- `system` is the Debian that they all stand on, and `published` what an upstream image adds to it.
- `instances`, `machine`, `storage`, `cloud_init`, `kernel` and `programs` make an instance a place where commands
  run; `addresses`, `block`, `redirect`, `ssh`, `session` and `logins` let people in.

Nothing here is imported by the rest of the reconciler, and only the server's process imports moto.
"""
