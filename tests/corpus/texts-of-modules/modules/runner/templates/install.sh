echo "$RUNNER" > /etc/runner${location}
