# Service level objectives, and alerts if the error budget of 28 days is used up too fast.

locals {
  # How fast the error budget burns, as a multiple of the rate that uses it up in exactly 28 days. Both windows must
  # be above the factor: the long one shows that it matters, the short one that it still goes on.
  burn_rates = {
    fast = { factor = 14, long = "3600s", short = "300s", severity = "CRITICAL", text = "2 % of the error budget was used up in one hour" }
    slow = { factor = 6, long = "21600s", short = "1800s", severity = "WARNING", text = "5 % of the error budget was used up in six hours" }
  }

  objectives = {
    availability = {
      slo    = google_monitoring_slo.availability.name
      name   = "requests fail"
      advice = "The API responds to more than 0.1 % of the requests with 5xx. Look at `dropzone_errors_total` and at the logs of dropzone-api with severity ERROR."
    }
    results = {
      slo    = google_monitoring_slo.results.name
      name   = "results are late"
      advice = "Events wait for more than a minute in more than 1 % of the time. Look at the number of instances and the latency of dropzone-function."
    }
  }

  burn_alerts = merge([
    for objective, each in local.objectives : {
      for speed, rate in local.burn_rates : "${objective}-${speed}" => merge(each, rate)
    }
  ]...)
}

resource "google_monitoring_custom_service" "dropzone" {
  project      = var.project
  service_id   = "dropzone"
  display_name = "Dropzone"
  user_labels  = local.labels

  depends_on = [google_project_service.this]
}

resource "google_monitoring_slo" "availability" {
  project             = var.project
  service             = google_monitoring_custom_service.dropzone.service_id
  slo_id              = "availability"
  display_name        = "99.9 % of the requests that are not wrong themselves succeed"
  goal                = 0.999
  rolling_period_days = 28
  user_labels         = local.labels

  request_based_sli {
    good_total_ratio {
      bad_service_filter = join(" AND ", [
        "metric.type = \"run.googleapis.com/request_count\"",
        "resource.type = \"cloud_run_revision\"",
        "resource.label.service_name = \"${google_cloud_run_v2_service.api.name}\"",
        "metric.label.response_code_class = \"5xx\"",
      ])
      total_service_filter = join(" AND ", [
        "metric.type = \"run.googleapis.com/request_count\"",
        "resource.type = \"cloud_run_revision\"",
        "resource.label.service_name = \"${google_cloud_run_v2_service.api.name}\"",
        "metric.label.response_code_class != \"4xx\"",
      ])
    }
  }
}

resource "google_monitoring_slo" "results" {
  project             = var.project
  service             = google_monitoring_custom_service.dropzone.service_id
  slo_id              = "results"
  display_name        = "In 99 % of the time, no event waits for more than a minute"
  goal                = 0.99
  rolling_period_days = 28
  user_labels         = local.labels

  windows_based_sli {
    window_period = "300s"

    metric_mean_in_range {
      time_series = join(" AND ", [
        "metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\"",
        "resource.type = \"pubsub_subscription\"",
        "resource.label.subscription_id = \"${local.eventarc_subscription_id}\"",
      ])

      range {
        max = 60
      }
    }
  }
}

resource "google_monitoring_alert_policy" "burn_rate" {
  for_each = local.burn_alerts

  project               = var.project
  display_name          = "Dropzone: ${each.value.name} (${each.key})"
  combiner              = "AND"
  severity              = each.value.severity
  notification_channels = local.notification_channels
  user_labels           = local.labels

  dynamic "conditions" {
    for_each = [each.value.long, each.value.short]

    content {
      display_name = "${each.value.name}, in ${conditions.value}"

      condition_threshold {
        filter          = "select_slo_burn_rate(\"${each.value.slo}\", \"${conditions.value}\")"
        comparison      = "COMPARISON_GT"
        threshold_value = each.value.factor
        duration        = "0s"

        trigger {
          count = 1
        }
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "${each.value.text}. ${each.value.advice}"
  }
}
