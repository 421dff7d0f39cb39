#!/bin/sh
# Show what `make deploy` would change, without changing anything: make plan PROJECT=... REGION=...
#
# The plan has the image that the API runs now, so it shows changes of the configuration only.
set -eu
. infra/gcp/tools.sh
COMMAND=plan
require_variables PROJECT REGION
require_tools terraform gcloud

authenticate_terraform
initialize_terraform
TF_VAR_image=$(gcloud run services describe dropzone-api --project="$PROJECT" --region="$REGION" \
  --format='value(spec.template.spec.containers[0].image)') || fail "the API is not deployed; run: make deploy"
export TF_VAR_image
deployment plan -input=false -lock=false -no-color
