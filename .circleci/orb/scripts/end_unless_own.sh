# What counts is what the project's repository says: the commits of a fork's pull request are on none of its branches.
# CircleCI's variables name some forks only (those that its GitHub App builds have none): they forbid, and never allow.
repository=${CIRCLE_REPOSITORY_URL:-$(git remote get-url origin)}
why=""
if [ -n "${CIRCLE_PR_USERNAME:-}${CIRCLE_PR_REPONAME:-}${CIRCLE_PR_NUMBER:-}" ]; then
  why="this is a fork's pull request"
elif [ -z "${CIRCLE_BRANCH:-}" ]; then
  why="this pipeline is of no branch"
else
  # A repository that can't be asked turns the job red: it did not say no.
  listed=$(git ls-remote "$repository" "refs/heads/$CIRCLE_BRANCH")
  if [ -z "$listed" ]; then
    why="the repository has no branch $CIRCLE_BRANCH"
  else
    git fetch --quiet --no-tags "$repository" "+refs/heads/$CIRCLE_BRANCH:refs/reconciler/own"
    git merge-base --is-ancestor HEAD refs/reconciler/own || why="the repository's $CIRCLE_BRANCH has no such commit"
  fi
fi
if [ -n "$why" ]; then
  echo "Nothing more is done: $why."
  circleci-agent step halt
fi
