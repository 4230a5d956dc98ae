# What is needed, the fleet says: container images alone need no role in AWS.
if ! needed=$(reconciler rights --credentials); then
  echo "Nothing more is done: no image is valid."
  circleci-agent step halt
  exit 0
fi
lacking=""
for one in $needed; do
  case $one in
    aws) [ -n "${AWS_ROLE_ARN:-}" ] || lacking="$lacking AWS_ROLE_ARN" ;;
    vsphere:*) [ -n "${VSPHERE_USER:-}" ] || lacking="$lacking VSPHERE_USER" ;;
    registry:*)
      # The machine may bring a login of its own.
      [ -n "${REGISTRY_USER:-}" ] || [ -e "${DOCKER_CONFIG:-$HOME/.docker}/config.json" ] ||
        lacking="$lacking REGISTRY_USER"
      ;;
  esac
done
if [ -n "$lacking" ]; then
  echo "Nothing more is done: no context gives this job$(printf '%s\n' $lacking | sort -u | sed 's/^/ /' | paste -s -d , -)."
  circleci-agent step halt
fi
