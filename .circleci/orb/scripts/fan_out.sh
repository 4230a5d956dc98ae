mkdir -p .reconciler
# shellcheck disable=SC2086 # they are several
reconciler graph --circleci $ARGUMENTS --job "$JOB" --context "$CONTEXT" > .reconciler/fan-out.yml
jq --null-input --rawfile configuration .reconciler/fan-out.yml --arg key "$CIRCLE_CONTINUATION_KEY" \
  '{"continuation-key": $key, "configuration": $configuration, "parameters": {}}' |
  curl --silent --show-error --fail --retry 5 --header "Content-Type: application/json" --data @- \
    "${CIRCLECI_CLI_HOST:-https://circleci.com}/api/v2/pipeline/continue"
