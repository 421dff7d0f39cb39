resource "google_artifact_registry_repository" "images" {
  #checkov:skip=CKV_GCP_84:Google encrypts the repository; the image contains no secret
  project       = var.project
  location      = var.region
  repository_id = "dropzone"
  description   = "Container images of Dropzone"
  format        = "DOCKER"
  labels        = local.labels

  # A version is deleted if any DELETE policy selects it and no KEEP policy does.
  cleanup_policies {
    id     = "keep-recent"
    action = "KEEP"

    most_recent_versions {
      keep_count = 10
    }
  }

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"

    condition {
      tag_state  = "ANY"
      older_than = "2592000s" # 30 days
    }
  }

  depends_on = [google_project_service.this]
}
