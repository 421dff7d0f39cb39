#!/bin/sh
# Delete everything that `make deploy` created, with all samples: make destroy PROJECT=... REGION=...
#
# Refuses while delete protection is on. Two things remain: the state bucket, which holds the history of the state, and
# the backups, which Firestore keeps until their retention ends.
set -eu
. infra/gcp/tools.sh
COMMAND=destroy
require_variables PROJECT REGION
require_tools terraform gcloud

protection=$(gcloud firestore databases describe --database='(default)' --project="$PROJECT" \
  --format='value(deleteProtectionState)' 2>&1) ||
  case $protection in
    *NOT_FOUND*) ;; # an earlier `make destroy` deleted the database, and then failed
    *) fail "$protection" ;;
  esac
case $protection in
  *DELETE_PROTECTION_ENABLED*)
    fail "delete protection is on, and the database of $PROJECT holds all samples. To lift the protection, write
  delete_protection = false
into infra/gcp/deployment/terraform.tfvars and run: make deploy PROJECT=$PROJECT REGION=$REGION
Then run make destroy again. To keep the samples, export them first: gcloud firestore export gs://BUCKET --project=$PROJECT"
    ;;
esac

TF_VAR_image=$(repository):latest # not used, but required
export TF_VAR_image
initialize_terraform
deployment destroy # shows the plan and asks
cat <<END
deleted. The state bucket remains; to delete it: gcloud storage rm --recursive gs://$PROJECT-dropzone-state
Backups of the database remain until their retention ends. They contain samples, and they cost money. To list and delete them:
  gcloud firestore backups list --project=$PROJECT
  gcloud firestore backups delete --backup=BACKUP --location=LOCATION --project=$PROJECT
END
