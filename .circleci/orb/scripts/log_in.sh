# The login that a context holds, where it holds one: for docker, which builds, and for the reconciler, which reads docker's.
if [ -n "${REGISTRY_USER:-}" ]; then
  printf '%s' "$REGISTRY_PASSWORD" |
    docker login --username "$REGISTRY_USER" --password-stdin ${REGISTRY:+"$REGISTRY"}
fi
