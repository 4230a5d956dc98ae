# Installs the reconciler and a Packer, where there are none. Jobs with rights run what comes of this, so each package is
# held to its hash and no cache is used: in one that jobs share, a branch could leave something for main.
if ! command -v reconciler > /dev/null; then
  # Of this very project it is the default branch's, never the checkout's: what a stranger sends is read, and not run.
  from=${RECONCILER_FROM:-git+${CIRCLE_REPOSITORY_URL:-$(git remote get-url origin)}@HEAD}
  case ${from##*@} in
    "$from" | "" | *:*)
      echo "error: 'from' names no commit: $from" >&2
      echo "  from: git+ADDRESS@COMMIT" >&2
      exit 1
      ;;
  esac
  address=${from#git+}
  source=$HOME/reconciler-source
  git init --quiet "$source"
  git -C "$source" fetch --quiet --depth 1 "${address%@*}" "${address##*@}"
  git -C "$source" checkout --quiet --detach FETCH_HEAD
  if [ ! -x "$source/.ci/venv" ]; then
    echo "error: there is no reconciler at $from" >&2
    echo "  say where it is: pack the orb with 'make orb' in a clone of it, or give the job 'from: git+ADDRESS@COMMIT'" >&2
    exit 1
  fi
  "$source/.ci/venv" "$HOME/reconciler"
  export PATH="$HOME/reconciler/bin:$PATH"
  echo "export PATH=\"$HOME/reconciler/bin:\$PATH\"" >> "$BASH_ENV"
fi
reconciler --version
# The machine's own Packer, with the plugins of the fleet's templates that a newer one does not bring; where there is none,
# the current one: the archive's is of 2020, and knows no required_plugins.
current=$(command -v packer > /dev/null || echo --current)
reconciler packer ${current:+"$current"} --for-fleet --export >> "$BASH_ENV"
