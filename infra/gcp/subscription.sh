#!/bin/sh
# Set or check what Terraform cannot set on the Pub/Sub subscription of the Eventarc trigger:
#   PROJECT=... sh infra/gcp/subscription.sh set|check
#
# - The acknowledgement deadline: 600 s instead of 10 s. Otherwise Eventarc sends an event of a large sample again
#   while the function still computes it.
# - The dead-letter topic. Otherwise Eventarc drops an event after 24 hours. 100 attempts, with pauses that grow to
#   10 minutes, take about 15 hours.
#
# TRIGGER is the name of the trigger, by default dropzone-sample-written. `set` can be repeated. With AUDIENCES, `check`
# also compares the audience of Eventarc's identity tokens.
set -eu
. infra/gcp/tools.sh
COMMAND=smoke
require_variables PROJECT
require_tools gcloud

deadline=600
attempts=100
trigger=${TRIGGER:-dropzone-sample-written}
topic=projects/$PROJECT/topics/dropzone-dead-letters

subscription=$(gcloud eventarc triggers list --project="$PROJECT" --location=- \
  --filter="name~/$trigger\$" --format='value(transport.pubsub.subscription)')
[ -n "$subscription" ] || fail "the project $PROJECT has no Eventarc trigger $trigger; run: make deploy"

describe() {
  gcloud pubsub subscriptions describe "$subscription" --project="$PROJECT" --format="value($1)"
}

check() {
  [ "$2" = "$3" ] || fail "$subscription: expected $1 $3, got ${2:-none}; run: PROJECT=$PROJECT TRIGGER=$trigger sh infra/gcp/subscription.sh set"
}

# Stop unless a pattern of AUDIENCES matches this audience.
check_audience() (
  set -f # a * is part of a pattern, and not of a file name
  IFS=,
  for pattern in $AUDIENCES; do
    # shellcheck disable=SC2254 # the * must match the hash of the URL
    case $1 in $pattern) return ;; esac
  done
  fail "Eventarc sends tokens for the audience $1, but the function accepts $AUDIENCES only"
)

case ${1:-} in
  set)
    gcloud pubsub subscriptions update "$subscription" --project="$PROJECT" \
      --ack-deadline="$deadline" --min-retry-delay=10s --max-retry-delay=600s \
      --dead-letter-topic="$topic" --max-delivery-attempts="$attempts"
    ;;
  check)
    check "the acknowledgement deadline" "$(describe ackDeadlineSeconds)" "$deadline"
    check "the dead-letter topic" "$(describe deadLetterPolicy.deadLetterTopic)" "$topic"
    check "the maximum number of attempts" "$(describe deadLetterPolicy.maxDeliveryAttempts)" "$attempts"
    if [ -n "${AUDIENCES:-}" ]; then
      check_audience "$(describe pushConfig.oidcToken.audience)"
    fi
    echo "ok  subscription: acknowledgement deadline $deadline s, dead letters to $topic after $attempts attempts"
    ;;
  *) fail "usage: PROJECT=... sh infra/gcp/subscription.sh set|check" ;;
esac
