#!/bin/sh
# Deploy Dropzone to a Google Cloud project: make deploy PROJECT=... REGION=...
#
# Every step can be repeated: after a failure, run the command again. Other variables than PROJECT and REGION are in
# infra/gcp/deployment/terraform.tfvars. YES=1 applies the plan without asking.
set -eu
. infra/gcp/tools.sh
COMMAND=deploy
require_variables PROJECT REGION
require_tools docker terraform gcloud git

bucket=$PROJECT-dropzone-state
module=module.dropzone

confirm() {
  [ "${YES:-}" = 1 ] && return
  printf '\nApply this plan to %s? [y/N] ' "$PROJECT"
  read -r answer || answer=
  case $answer in
    y | Y | yes) ;;
    *) fail "nothing was applied" ;;
  esac
}

# Show a plan, ask, and apply exactly this plan: apply PLAN_OPTIONS...
apply() {
  deployment plan -input=false -out=dropzone.tfplan "$@"
  confirm
  deployment apply -input=false dropzone.tfplan
  rm -f infra/gcp/deployment/dropzone.tfplan "$existing_indexes"
}

# List the indexes of the database: list_indexes OPTIONS...
list_indexes() {
  gcloud firestore indexes composite list --database='(default)' --project="$PROJECT" "$@"
}

# Let Terraform manage the indexes that exist. After a restore, their ids can differ from those in the state, and an
# operator can have created an index by hand. Firestore would refuse to create such an index again.
#
# Terraform imports an index without waiting until it is built. The services would then be updated too early, so the
# indexes of an interrupted deployment are awaited here.
adopt_indexes() {
  [ -n "$(deployment state list "$module.google_firestore_database.this" 2>/dev/null)" ] || return 0
  while building=$(list_indexes --filter=state=CREATING --format='value(name)') && [ -n "$building" ]; do
    echo "Firestore is building indexes. The deployment continues when they are built:"
    echo "$building"
    sleep 60
  done
  deployment apply -refresh-only -auto-approve -input=false -target="$module.google_firestore_index.this"
  list_indexes --format=json >"$existing_indexes"
}

step "Terraform state: gs://$bucket"
gcloud services enable cloudresourcemanager.googleapis.com iam.googleapis.com serviceusage.googleapis.com \
  storage.googleapis.com --project="$PROJECT"
if ! gcloud storage buckets describe "gs://$bucket" --project="$PROJECT" >/dev/null 2>&1; then
  gcloud storage buckets create "gs://$bucket" --project="$PROJECT" --location="$REGION" \
    --uniform-bucket-level-access --public-access-prevention
fi
gcloud storage buckets update "gs://$bucket" --versioning
TF_VAR_image=$(repository):$(tag)
export TF_VAR_image
initialize_terraform

step "Image: $TF_VAR_image"
if ! gcloud artifacts repositories describe dropzone --project="$PROJECT" --location="$REGION" >/dev/null 2>&1 ||
  ! gcloud secrets describe dropzone-api-key --project="$PROJECT" >/dev/null 2>&1; then
  echo "The repository of the image and the secret of the API key come first: the services need both."
  apply -target="$module.google_artifact_registry_repository.images" -target="$module.google_secret_manager_secret.api_key"
fi
sh infra/gcp/image.sh build
sh infra/gcp/image.sh push
digest=$(gcloud artifacts docker images describe "$TF_VAR_image" --project="$PROJECT" --format='value(image_summary.digest)')
TF_VAR_image=$(repository)@$digest

step "API key of the operator, in the secret dropzone-api-key"
if [ -z "$(gcloud secrets versions list dropzone-api-key --project="$PROJECT" --filter=state=enabled --limit=1 --format='value(name)')" ]; then
  key=$("$engine" run --rm --platform linux/amd64 --entrypoint python "$TF_VAR_image" \
    -c 'from graphql_api.auth.api_keys import new_key; print(new_key())')
  printf %s "$key" | gcloud secrets versions add dropzone-api-key --project="$PROJECT" --data-file=-
fi

step "Plan and apply"
adopt_indexes
apply

step "Second step: the subscription of the Eventarc trigger"
PROJECT=$PROJECT sh infra/gcp/subscription.sh set

step "Store the digest of the API key"
gcloud run jobs execute "$(deployment output -raw keys_job)" --project="$PROJECT" --region="$REGION" --wait

step "Smoke test"
url=$(deployment output -raw api_url)
AUDIENCES=$(deployment output -raw event_audiences) sh infra/gcp/subscription.sh check
DROPZONE_KEY=$(gcloud secrets versions access latest --secret=dropzone-api-key --project="$PROJECT")
export DROPZONE_KEY
"$engine" run --rm --platform linux/amd64 --env DROPZONE_KEY "$TF_VAR_image" infra.smoke --url "$url"

cat <<END

Dropzone is deployed.
  API      $url
  API key  gcloud secrets versions access latest --secret=dropzone-api-key --project=$PROJECT
  Cost     about 20 USD a month without any request: one idle API instance with 1 CPU and 2 GiB.
           docs/deploying.md, section "Costs", has the prices and the cost per million samples.
END
