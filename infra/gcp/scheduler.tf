# The audit: some minutes after its arrival, every accepted sample must have a result.

resource "google_cloud_scheduler_job" "audit" {
  project          = var.project
  region           = var.region
  name             = "dropzone-audit"
  description      = "Checks that every accepted sample has a result"
  schedule         = "*/5 * * * *"
  time_zone        = "Etc/UTC"
  attempt_deadline = "300s"

  http_target {
    http_method = "POST"
    uri         = "${google_cloud_run_v2_service.function.uri}/audit"

    oidc_token {
      service_account_email = google_service_account.this["eventarc"].email
      audience              = google_cloud_run_v2_service.function.uri
    }
  }

  depends_on = [google_cloud_run_v2_service_iam_member.eventarc_calls_function]
}

# Rollups: summaries of many results are read from statistics per hour, which the function keeps.

resource "google_cloud_scheduler_job" "rollups" {
  project          = var.project
  region           = var.region
  name             = "dropzone-rollups"
  description      = "Builds rollups, and moves expired results into the hourly archive"
  schedule         = "*/5 * * * *"
  time_zone        = "Etc/UTC"
  attempt_deadline = "300s"

  http_target {
    http_method = "POST"
    uri         = "${google_cloud_run_v2_service.function.uri}/rollups"

    oidc_token {
      service_account_email = google_service_account.this["eventarc"].email
      audience              = google_cloud_run_v2_service.function.uri
    }
  }

  depends_on = [google_cloud_run_v2_service_iam_member.eventarc_calls_function]
}
