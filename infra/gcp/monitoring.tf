# Uptime check and alerts. Each alert says what it means and what to do.

locals {
  eventarc_subscription_id = basename(local.eventarc_subscription)
  notification_channels    = [for channel in google_monitoring_notification_channel.email : channel.id]
  api_host                 = local.has_load_balancer ? var.domain : trimprefix(google_cloud_run_v2_service.api.uri, "https://")

  # The alerts on the maximum number of instances: a fixed number, or one instance, is always at its maximum.
  threshold_alerts = {
    backlog = {
      name      = "Samples wait for their results"
      severity  = "WARNING"
      filter    = "metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.type = \"pubsub_subscription\" AND resource.label.subscription_id = \"${local.eventarc_subscription_id}\""
      aligner   = "ALIGN_MAX"
      reducer   = "REDUCE_MAX"
      threshold = 600
      duration  = "300s"
      advice    = "An event waits for more than 10 minutes. Look at the logs of dropzone-function. If it responds with 503, Firestore refuses requests: look at its quotas. If all instances are busy, raise `function.max_instances`. Nothing is lost: events wait for 24 hours, and the audit triggers later ones again."
    }
    dead_letters = {
      name      = "Events were given up"
      severity  = "ERROR"
      filter    = "metric.type = \"pubsub.googleapis.com/subscription/dead_letter_message_count\" AND resource.type = \"pubsub_subscription\" AND resource.label.subscription_id = \"${local.eventarc_subscription_id}\""
      aligner   = "ALIGN_DELTA"
      reducer   = "REDUCE_SUM"
      threshold = 0
      duration  = "0s"
      advice    = "The function failed 100 times to process an event. Its sample is FAILED with the code GIVEN_UP; the problem is in the result and in the logs of dropzone-function. Correct the cause, then call the mutation `recompute`."
    }
    undelivered_dead_letters = {
      name      = "Dead letters do not reach the function"
      severity  = "ERROR"
      filter    = "metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.type = \"pubsub_subscription\" AND resource.label.subscription_id = \"${google_pubsub_subscription.dead_letters.name}\""
      aligner   = "ALIGN_MAX"
      reducer   = "REDUCE_MAX"
      threshold = 3600
      duration  = "300s"
      advice    = "A dead letter waits for more than an hour, so its sample is still PENDING. Look at the responses to POST /dead-letters in the logs of dropzone-function. Dead letters are kept for 7 days."
    }
    api_instances = {
      name      = "The API is at its maximum number of instances"
      severity  = "WARNING"
      filter    = "metric.type = \"run.googleapis.com/container/instance_count\" AND resource.type = \"cloud_run_revision\" AND resource.label.service_name = \"${google_cloud_run_v2_service.api.name}\""
      aligner   = "ALIGN_MAX"
      reducer   = "REDUCE_SUM"
      threshold = max(var.api.max_instances * 0.9, var.api.min_instances, 1)
      duration  = "600s"
      advice    = "More requests would be refused with 429. Raise `api.max_instances`; docs/deploying.md, section Sizing, says what else to raise with it."
    }
    function_instances = {
      name      = "The function is at its maximum number of instances"
      severity  = "WARNING"
      filter    = "metric.type = \"run.googleapis.com/container/instance_count\" AND resource.type = \"cloud_run_revision\" AND resource.label.service_name = \"${google_cloud_run_v2_service.function.name}\""
      aligner   = "ALIGN_MAX"
      reducer   = "REDUCE_SUM"
      threshold = max(var.function.max_instances * 0.9, var.function.min_instances, 1)
      duration  = "600s"
      advice    = "Results arrive later, but none is lost: events wait. Raise `function.max_instances`, or `function.cpu` if samples are large."
    }
    memory = {
      name      = "Instances are short of memory"
      severity  = "WARNING"
      filter    = "metric.type = \"run.googleapis.com/container/memory/utilizations\" AND resource.type = \"cloud_run_revision\" AND resource.label.service_name = starts_with(\"dropzone-\")"
      aligner   = "ALIGN_PERCENTILE_99"
      reducer   = "REDUCE_MAX"
      threshold = 0.9
      duration  = "600s"
      advice    = "Cloud Run ends an instance that needs more memory than it has. Raise `api.memory` or `function.memory`, or lower the concurrency."
    }
  }

  log_alerts = {
    missing_samples = {
      name     = "Accepted samples have no result"
      severity = "CRITICAL"
      filter   = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${google_cloud_run_v2_service.function.name}\" AND severity >= ERROR AND (jsonPayload.message =~ \"^audit: \" OR textPayload =~ \"^audit: \")"
      advice   = "The audit found samples without a result and triggered the function again, but the samples still have no result. The log entry names them. Look for their ids in the logs of dropzone-function; correct the cause, then call the mutation `recompute` with the ids."
    }
    unreadable_dead_letters = {
      name     = "A dead letter does not name a sample"
      severity = "ERROR"
      filter   = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${google_cloud_run_v2_service.function.name}\" AND severity >= ERROR AND (jsonPayload.message =~ \"^dead letter: \" OR textPayload =~ \"^dead letter: \")"
      advice   = "An event that was given up cannot be assigned to a sample. The log entry has the attributes of the event. If a sample lacks its result, the audit finds this sample."
    }
    failed_audits = {
      name     = "The audit fails"
      severity = "ERROR"
      filter   = "resource.type = \"cloud_scheduler_job\" AND resource.labels.job_id = \"${google_cloud_scheduler_job.audit.name}\" AND severity >= ERROR"
      advice   = "Cloud Scheduler got an error from POST /audit of dropzone-function. Look at the logs of both. The audit continues where it ended, so no sample is skipped."
    }
    failed_rollups = {
      name     = "Building rollups fails"
      severity = "WARNING"
      filter   = "resource.type = \"cloud_scheduler_job\" AND resource.labels.job_id = \"${google_cloud_scheduler_job.rollups.name}\" AND severity >= ERROR"
      advice   = "Cloud Scheduler got an error from POST /rollups of dropzone-function. Look at the logs of both. Summaries stay right, and become slower until the rollups are built again. Expired results are kept until they are archived."
    }
  }
}

resource "google_monitoring_notification_channel" "email" {
  for_each = var.notification_emails

  project      = var.project
  display_name = "Dropzone: ${each.value}"
  type         = "email"
  labels       = { email_address = each.value }
  user_labels  = local.labels

  # Google refuses to delete a channel that an alert uses. A removed channel is deleted after the alerts were updated.
  lifecycle {
    create_before_destroy = true
  }

  depends_on = [google_project_service.this]
}

resource "google_monitoring_uptime_check_config" "api" {
  project          = var.project
  display_name     = "Dropzone API"
  period           = "60s"
  timeout          = "10s"
  selected_regions = ["EUROPE", "USA", "ASIA_PACIFIC"]
  user_labels      = local.labels

  # Google's front end answers /healthz of Cloud Run services itself. /readyz also needs Firestore.
  http_check {
    path           = "/readyz"
    port           = 443
    use_ssl        = true
    validate_ssl   = true
    request_method = "GET"

    accepted_response_status_codes {
      status_value = 200
    }
  }

  monitored_resource {
    type = "uptime_url"

    labels = {
      project_id = var.project
      host       = local.api_host
    }
  }

  # Another host needs a new check, and Google refuses to delete a check that an alert uses.
  lifecycle {
    create_before_destroy = true
  }

  depends_on = [google_project_service.this]
}

resource "google_monitoring_alert_policy" "uptime" {
  project               = var.project
  display_name          = "Dropzone: the API is not reachable"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = local.notification_channels
  user_labels           = local.labels

  conditions {
    display_name = "GET /readyz fails from two regions"

    condition_threshold {
      filter          = "metric.type = \"monitoring.googleapis.com/uptime_check/check_passed\" AND resource.type = \"uptime_url\" AND metric.label.check_id = \"${google_monitoring_uptime_check_config.api.uptime_check_id}\""
      comparison      = "COMPARISON_GT"
      threshold_value = 1
      duration        = "120s"

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_NEXT_OLDER"
        cross_series_reducer = "REDUCE_COUNT_FALSE"
        group_by_fields      = ["resource.label.host"]
      }

      trigger {
        count = 1
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "The API does not respond, or does not reach Firestore (the response of /readyz says which). Look at the logs of dropzone-api and at https://status.cloud.google.com. If a new revision causes it, send traffic to the previous one: `gcloud run services update-traffic dropzone-api --to-revisions=REVISION=100`."
  }
}

resource "google_monitoring_alert_policy" "threshold" {
  for_each = local.threshold_alerts

  project               = var.project
  display_name          = "Dropzone: ${each.value.name}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = local.notification_channels
  user_labels           = local.labels

  conditions {
    display_name = each.value.name

    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.threshold
      duration        = each.value.duration

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = each.value.aligner
        cross_series_reducer = each.value.reducer
      }

      trigger {
        count = 1
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = each.value.advice
  }
}

# A paused schedule logs nothing, so no alert on its errors would fire. The query also fires if the metric has no data.
resource "google_monitoring_alert_policy" "late_audit" {
  project               = var.project
  display_name          = "Dropzone: The audit does not run"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = local.notification_channels
  user_labels           = local.labels

  conditions {
    display_name = "No audit has succeeded for 30 minutes"

    condition_prometheus_query_language {
      query                     = "(sum(increase(logging_googleapis_com:user_${google_logging_metric.audits.name}{monitored_resource=\"cloud_scheduler_job\"}[30m])) or vector(0)) < 1"
      duration                  = "600s"
      evaluation_interval       = "60s"
      disable_metric_validation = true # the metric exists only after its first log entry
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "Cloud Scheduler has not completed a call of POST /audit of dropzone-function for 30 minutes. Look at the job ${google_cloud_scheduler_job.audit.name}: resume it if it is paused. Otherwise look at its logs and at those of dropzone-function. The audit continues where it ended, so no sample is skipped."
  }
}

resource "google_monitoring_alert_policy" "log" {
  for_each = local.log_alerts

  project               = var.project
  display_name          = "Dropzone: ${each.value.name}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = local.notification_channels
  user_labels           = local.labels

  conditions {
    display_name = each.value.name

    condition_matched_log {
      filter = each.value.filter
    }
  }

  alert_strategy {
    auto_close = "86400s"

    notification_rate_limit { # required for alerts on log entries
      period = "1800s"
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = each.value.advice
  }

  depends_on = [google_project_service.this]
}
