# Cloud Run logs every request, which would cost as much as the computation itself. Of the successful requests, one of
# a hundred is kept. Metrics count all requests; errors and the logs of the processes are kept completely.

resource "google_logging_project_exclusion" "requests" {
  project     = var.project
  name        = "dropzone-successful-requests"
  description = "Keeps 1 % of the logs of successful requests to Dropzone"
  filter      = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name =~ \"^dropzone-\" AND log_id(\"run.googleapis.com/requests\") AND httpRequest.status < 400 AND sample(insertId, 0.99)"

  depends_on = [google_project_service.this]
}

# Cloud Scheduler has no metrics. It logs each call when it ends, so the successful calls of the audit are counted here.
resource "google_logging_metric" "audits" {
  project     = var.project
  name        = "dropzone_audits"
  description = "Successful calls of POST /audit of dropzone-function"
  filter      = "resource.type = \"cloud_scheduler_job\" AND resource.labels.job_id = \"${google_cloud_scheduler_job.audit.name}\" AND jsonPayload.\"@type\" = \"type.googleapis.com/google.cloud.scheduler.logging.AttemptFinished\" AND severity < ERROR"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"
  }

  depends_on = [google_project_service.this]
}
