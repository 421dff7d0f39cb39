# Functions of the scripts in this folder. They run from the root of the repository.

fail() {
  echo "error: $*" >&2
  exit 1
}

step() {
  printf '\n== %s\n' "$*"
}

# Stop unless all variables have a value: require_variables PROJECT REGION
require_variables() {
  for name; do
    eval "value=\${$name:-}"
    [ -n "$value" ] || fail "set $name, for example: make ${COMMAND:-deploy} PROJECT=my-project REGION=europe-west6"
  done
}

# Stop unless all commands are installed. `docker` stands for docker or podman, and sets the variable `engine`.
require_tools() {
  missing=
  for tool; do
    case $tool in
      docker)
        if command -v docker >/dev/null 2>&1; then
          engine=docker
        elif command -v podman >/dev/null 2>&1; then
          engine=podman
        else
          missing="$missing docker (or podman)"
        fi
        ;;
      *) command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool" ;;
    esac
  done
  [ -z "$missing" ] || fail "not installed:$missing"
}

# The repository of the image, without a tag.
repository() {
  echo "$REGION-docker.pkg.dev/$PROJECT/dropzone/dropzone"
}

# The tag of the image: the commit, and `-dirty` if there are uncommitted changes.
tag() {
  git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null || echo latest
}

# Run Terraform on the configuration that `make deploy` applies. It uses the account of gcloud, unless other credentials
# are set. Terraform cannot refresh a token of gcloud, so each command gets a new one, which is valid for an hour. A token
# of `gcloud auth print-access-token` can be older: it can expire within five minutes.
deployment() (
  if [ -z "${GOOGLE_APPLICATION_CREDENTIALS:-}" ] && [ -z "${GOOGLE_OAUTH_ACCESS_TOKEN:-}" ]; then
    GOOGLE_OAUTH_ACCESS_TOKEN=$(gcloud config config-helper --force-auth-refresh --format='value(credential.access_token)') ||
      fail "sign in first: gcloud auth login"
    export GOOGLE_OAUTH_ACCESS_TOKEN
  fi
  terraform -chdir=infra/gcp/deployment "$@"
)

# The indexes that Terraform must import. Only `make deploy` writes this file.
existing_indexes=infra/gcp/deployment/existing_indexes.json

initialize_terraform() {
  rm -f "$existing_indexes" # of an interrupted deployment
  TF_VAR_project=$PROJECT
  TF_VAR_region=$REGION
  export TF_VAR_project TF_VAR_region
  deployment init -input=false -reconfigure -backend-config="bucket=$PROJECT-dropzone-state" >/dev/null
}
