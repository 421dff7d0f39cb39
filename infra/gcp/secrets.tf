# The API key of the operator, for the smoke test. `make deploy` adds the version, so that the key is not in the
# Terraform state. All other keys exist only as digests in Firestore.

resource "google_secret_manager_secret" "api_key" {
  project   = var.project
  secret_id = "dropzone-api-key"
  labels    = local.labels

  replication {
    auto {}
  }

  depends_on = [google_project_service.this]
}

resource "google_secret_manager_secret_iam_member" "keys" {
  project   = var.project
  secret_id = google_secret_manager_secret.api_key.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.this["keys"].member
}
