#!/bin/sh
# Show what `make deploy` would change, without changing anything: make plan PROJECT=... REGION=...
#
# The plan compares the configuration with Terraform's state, and has the image that the API runs now. It therefore shows
# changes of the configuration only, and pull requests need no access to the resources. `make deploy` also shows what
# others have changed.
set -eu
. infra/gcp/tools.sh
COMMAND=plan
require_variables PROJECT REGION
require_tools terraform gcloud

initialize_terraform
TF_VAR_image=$(gcloud run services describe dropzone-api --project="$PROJECT" --region="$REGION" \
  --format='value(spec.template.spec.containers[0].image)') || fail "the API is not deployed; run: make deploy"
export TF_VAR_image
deployment plan -input=false -lock=false -refresh=false -no-color
