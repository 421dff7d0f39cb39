#!/bin/sh
# Build the container image, or push it to the repository of a project: PROJECT=... REGION=... sh infra/gcp/image.sh build|push
set -eu
. infra/gcp/tools.sh
require_tools docker git

case ${1:-} in
  build)
    COMMAND=image
    image=dropzone:$(tag)
    "$engine" build --platform linux/amd64 --file infra/container/Dockerfile --tag "$image" .
    echo "built $image"
    ;;
  push)
    COMMAND=push
    require_variables PROJECT REGION
    require_tools gcloud
    image=$(repository):$(tag)
    gcloud auth print-access-token |
      "$engine" login --username oauth2accesstoken --password-stdin "https://$REGION-docker.pkg.dev" >/dev/null
    "$engine" tag "dropzone:$(tag)" "$image"
    "$engine" push "$image"
    echo "pushed $image"
    ;;
  *) fail "usage: sh infra/gcp/image.sh build|push" ;;
esac
