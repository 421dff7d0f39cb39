# The whole module with a provider that creates nothing. `make infra-check` runs these tests.

mock_provider "google" {
  mock_data "google_project" {
    defaults = {
      number = "123456789012"
    }
  }

  mock_resource "google_cloud_run_v2_service" {
    defaults = {
      uri = "https://dropzone-api-x7k2-oa.a.run.app"
    }
  }

  mock_resource "google_service_account" {
    defaults = {
      email  = "account@example-project.iam.gserviceaccount.com"
      member = "serviceAccount:account@example-project.iam.gserviceaccount.com"
      name   = "projects/example-project/serviceAccounts/account@example-project.iam.gserviceaccount.com"
    }
  }
}

variables {
  project = "example-project"
  region  = "europe-west6"
  image   = "europe-west6-docker.pkg.dev/example-project/dropzone/dropzone@sha256:0000000000000000000000000000000000000000000000000000000000000000"
}

run "the_database_can_be_restored_and_not_deleted" {
  assert {
    condition     = google_firestore_database.this.type == "FIRESTORE_NATIVE" && google_firestore_database.this.name == "(default)"
    error_message = "The API reads the database (default) in native mode."
  }

  assert {
    condition     = google_firestore_database.this.point_in_time_recovery_enablement == "POINT_IN_TIME_RECOVERY_ENABLED"
    error_message = "Point-in-time recovery must be on."
  }

  assert {
    condition     = google_firestore_database.this.delete_protection_state == "DELETE_PROTECTION_ENABLED"
    error_message = "Delete protection must be on by default."
  }

  assert {
    condition     = google_firestore_backup_schedule.daily.retention == "604800s" && google_firestore_backup_schedule.weekly.retention == "8467200s"
    error_message = "Daily backups are kept for 7 days, weekly backups for 14 weeks."
  }
}

run "every_index_and_exemption_of_the_file_exists" {
  assert {
    condition     = length(google_firestore_index.this) == length(jsondecode(file("firestore.indexes.json")).indexes)
    error_message = "Expected one index for each entry of firestore.indexes.json."
  }

  assert {
    condition = toset([
      for index in google_firestore_index.this :
      jsonencode([index.collection, index.query_scope, [for field in index.fields : [field.field_path, field.order, field.array_config]]])
      ]) == toset([
      for index in jsondecode(file("firestore.indexes.json")).indexes :
      jsonencode([index.collectionGroup, index.queryScope, [for field in index.fields : [field.fieldPath, try(field.order, null), try(field.arrayConfig, null)]]])
    ])
    error_message = "The indexes differ from firestore.indexes.json."
  }

  assert {
    condition = toset([for field in google_firestore_field.this : "${field.collection} ${field.field}"]) == toset([
      for field in jsondecode(file("firestore.indexes.json")).fieldOverrides : "${field.collectionGroup} ${field.fieldPath}"
    ])
    error_message = "The exemptions differ from firestore.indexes.json."
  }

  assert {
    condition     = alltrue([for field in google_firestore_field.this : length(field.index_config) == 1])
    error_message = "Without an index_config block, a field keeps its default indexes."
  }

  assert {
    condition = toset([for field in google_firestore_field.this : "${field.collection} ${field.field}" if length(field.ttl_config) == 1]) == toset([
      for field in jsondecode(file("firestore.indexes.json")).fieldOverrides : "${field.collectionGroup} ${field.fieldPath}" if try(field.ttl, false)
    ])
    error_message = "A TTL policy exists for each entry with ttl, and for no other."
  }
}

run "the_api_is_public_and_checks_itself" {
  assert {
    condition     = google_cloud_run_v2_service.api.ingress == "INGRESS_TRAFFIC_ALL" && google_cloud_run_v2_service_iam_member.public_api.member == "allUsers"
    error_message = "Clients with API keys call the API from anywhere."
  }

  assert {
    condition     = google_cloud_run_v2_service_iam_member.public_api.name == "dropzone-api"
    error_message = "Only the API is public."
  }

  assert {
    condition = (
      google_cloud_run_v2_service.api.template[0].containers[0].startup_probe[0].http_get[0].path == "/readyz" &&
      google_cloud_run_v2_service.api.template[0].containers[0].liveness_probe[0].http_get[0].path == "/healthz"
    )
    error_message = "A restart of the API cannot repair Firestore, so liveness must not depend on it."
  }

  assert {
    condition     = google_cloud_run_v2_service.api.template[0].timeout == "3600s" && google_cloud_run_v2_service.api.template[0].session_affinity
    error_message = "Subscriptions last as long as Cloud Run allows, 60 minutes, and reconnect to the same instance."
  }

  assert {
    condition     = google_cloud_run_v2_service.api.template[0].containers[0].resources[0].startup_cpu_boost
    error_message = "Instances start faster with the CPU boost."
  }

  assert {
    condition = contains(
      [for env in google_cloud_run_v2_service.api.template[0].containers[0].env : "${env.name}=${env.value}"],
      "DROPZONE_MAX_REQUEST_MIB=30",
    )
    error_message = "Clients must learn the limit of Cloud Run, 32 MiB."
  }

  assert {
    condition = contains(
      [for env in google_cloud_run_v2_service.api.template[0].containers[0].env : "${env.name}=${env.value}"],
      "DROPZONE_MAX_MEMORY_MIB=1433",
    )
    error_message = "The API refuses large requests before Cloud Run ends it: at 70 % of 2 GiB."
  }
}

run "a_deployment_ends_a_rollback" {
  assert {
    condition = alltrue([
      for service in [google_cloud_run_v2_service.api, google_cloud_run_v2_service.function] :
      [for target in service.traffic : "${target.type} ${target.percent}"] == ["TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST 100"]
    ])
    error_message = "After `gcloud run services update-traffic`, the new version of a later deployment would get no requests."
  }
}

run "only_the_project_calls_the_function" {
  assert {
    condition     = google_cloud_run_v2_service.function.ingress == "INGRESS_TRAFFIC_INTERNAL_ONLY"
    error_message = "The function must not be reachable from outside."
  }

  assert {
    condition = (
      google_cloud_run_v2_service_iam_member.eventarc_calls_function.name == "dropzone-function" &&
      google_cloud_run_v2_service_iam_member.eventarc_calls_function.member == google_service_account.this["eventarc"].member
    )
    error_message = "Only the service account of the events may call the function."
  }

  assert {
    condition = contains(
      [for env in google_cloud_run_v2_service.function.template[0].containers[0].env : "${env.name}=${env.value}"],
      "DROPZONE_EVENT_AUDIENCE=https://dropzone-function-123456789012.europe-west6.run.app,https://dropzone-function-*.a.run.app",
    )
    error_message = "The function accepts tokens for both of its URLs."
  }

  assert {
    condition = anytrue([
      for env in google_cloud_run_v2_service.function.template[0].containers[0].env : env.name == "DROPZONE_SHARDS" && env.value == "4"
    ])
    error_message = "API and function must use the same number of shards."
  }
}

run "written_samples_become_events" {
  assert {
    condition = toset([for criterion in google_eventarc_trigger.sample_written.matching_criteria : jsonencode([criterion.attribute, criterion.value, criterion.operator])]) == toset([
      jsonencode(["type", "google.cloud.firestore.document.v1.written", null]),
      jsonencode(["database", "(default)", null]),
      jsonencode(["document", "submitters/{submitter}/samples/{sample}", "match-path-pattern"]),
    ])
    error_message = "The trigger matches headers of samples: not chunks, not results."
  }

  assert {
    condition     = google_eventarc_trigger.sample_written.event_data_content_type == "application/protobuf"
    error_message = "The function reads protobuf."
  }

  assert {
    condition     = length(google_eventarc_trigger.sample_written.retry_policy) == 0
    error_message = "A retry policy would switch retries off."
  }

  assert {
    condition     = google_eventarc_trigger.sample_written.location == "europe-west6"
    error_message = "Firestore's events are available in the location of the database."
  }
}

run "the_trigger_follows_a_multi_region_database" {
  variables {
    database_location = "eur3"
  }

  assert {
    condition     = google_firestore_database.this.location_id == "eur3" && google_eventarc_trigger.sample_written.location == "eur3"
    error_message = "The trigger must be in the location of the database."
  }

  assert {
    condition     = google_eventarc_trigger.sample_written.destination[0].cloud_run_service[0].region == "europe-west6"
    error_message = "The function stays in the region."
  }
}

run "dead_letters_reach_the_function" {
  assert {
    condition     = google_pubsub_subscription.dead_letters.push_config[0].push_endpoint == "${google_cloud_run_v2_service.function.uri}/dead-letters"
    error_message = "The function stores a FAILED result for each dead letter."
  }

  assert {
    condition     = google_pubsub_subscription.dead_letters.expiration_policy[0].ttl == ""
    error_message = "The subscription must not expire while no event fails."
  }

  assert {
    condition = (
      google_pubsub_topic_iam_member.pubsub_publishes_dead_letters.member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com" &&
      google_pubsub_subscription_iam_member.pubsub_acknowledges_dead_letters.member == google_pubsub_topic_iam_member.pubsub_publishes_dead_letters.member
    )
    error_message = "Pub/Sub needs to publish dead letters and to acknowledge the events."
  }
}

run "the_audit_runs_every_five_minutes" {
  assert {
    condition     = google_cloud_scheduler_job.audit.schedule == "*/5 * * * *" && google_cloud_scheduler_job.audit.http_target[0].uri == "${google_cloud_run_v2_service.function.uri}/audit"
    error_message = "Cloud Scheduler calls /audit of the function every five minutes."
  }

  assert {
    condition     = google_cloud_scheduler_job.audit.http_target[0].oidc_token[0].audience == google_cloud_run_v2_service.function.uri
    error_message = "The function accepts tokens for its URL only."
  }
}

run "api_and_function_export_traces" {
  variables {
    trace_settings = { OTEL_EXPORTER_OTLP_ENDPOINT = "https://collector.example.org" }
  }

  assert {
    condition = alltrue([
      for service in [google_cloud_run_v2_service.api, google_cloud_run_v2_service.function] : contains(
        [for each in service.template[0].containers[0].env : "${each.name}=${each.value}"],
        "OTEL_EXPORTER_OTLP_ENDPOINT=https://collector.example.org",
      )
    ])
    error_message = "A trace leads from the request in the API to the function, so both export their spans."
  }
}

run "an_audit_that_does_not_run_raises_an_alert" {
  assert {
    condition     = strcontains(google_logging_metric.audits.filter, "resource.labels.job_id = \"dropzone-audit\"") && strcontains(google_logging_metric.audits.filter, "AttemptFinished\" AND severity < ERROR")
    error_message = "Only calls of the audit that succeeded may count: failed calls do not check samples."
  }

  assert {
    condition     = strcontains(google_monitoring_alert_policy.late_audit.conditions[0].condition_prometheus_query_language[0].query, "logging_googleapis_com:user_dropzone_audits{")
    error_message = "The alert reads the metric of the audit."
  }

  assert {
    condition     = strcontains(google_monitoring_alert_policy.late_audit.conditions[0].condition_prometheus_query_language[0].query, "or vector(0)) < 1")
    error_message = "A paused schedule leaves no data, which must raise the alert too."
  }
}

run "the_rollups_are_kept_every_five_minutes" {
  assert {
    condition     = google_cloud_scheduler_job.rollups.schedule == "*/5 * * * *" && google_cloud_scheduler_job.rollups.http_target[0].uri == "${google_cloud_run_v2_service.function.uri}/rollups"
    error_message = "Cloud Scheduler calls /rollups of the function every five minutes."
  }
}

run "workflows_of_one_repository_sign_in" {
  variables {
    github_repository = "example/dropzone"
    environment       = "staging"
  }

  assert {
    condition     = google_iam_workload_identity_pool_provider.github[0].attribute_condition == "(assertion.sub == 'repo:example/dropzone:environment:staging' && assertion.ref == 'refs/heads/main') || assertion.sub == 'repo:example/dropzone:pull_request'"
    error_message = "Tokens of other repositories, branches and environments must be refused."
  }

  assert {
    condition     = endswith(google_service_account_iam_member.github_deploys[0].member, "/subject/repo:example/dropzone:environment:staging")
    error_message = "Only jobs of the GitHub environment may deploy."
  }

  assert {
    condition     = toset(keys(google_project_iam_member.planner)) == toset(["roles/browser", "roles/run.viewer", "roles/serviceusage.serviceUsageConsumer"])
    error_message = "A plan of a pull request must neither change anything nor read samples."
  }
}

run "without_a_repository_no_workflow_signs_in" {
  assert {
    condition     = length(google_iam_workload_identity_pool.github) == 0 && length(google_project_iam_member.deployer) == 0
    error_message = "Expected no identity for workflows."
  }
}

run "all_resources_with_labels_have_them" {
  variables {
    labels = { team = "measurements" }
  }

  assert {
    condition = alltrue([
      for labels in [
        google_artifact_registry_repository.images.labels,
        google_cloud_run_v2_service.api.labels,
        google_cloud_run_v2_service.function.labels,
        google_cloud_run_v2_job.keys.labels,
        google_eventarc_trigger.sample_written.labels,
        google_pubsub_topic.dead_letters.labels,
        google_pubsub_subscription.dead_letters.labels,
        google_secret_manager_secret.api_key.labels,
      ] : labels == tomap({ application = "dropzone", environment = "production", team = "measurements" })
    ])
    error_message = "Expected the labels application, environment and those of the variable."
  }
}

run "every_alert_says_what_to_do_and_reaches_someone" {
  variables {
    notification_emails = ["operator@example.org"]
  }

  assert {
    condition = alltrue([
      for policy in concat(
        [google_monitoring_alert_policy.uptime, google_monitoring_alert_policy.late_audit],
        values(google_monitoring_alert_policy.threshold),
        values(google_monitoring_alert_policy.log),
        values(google_monitoring_alert_policy.burn_rate),
      ) : length(policy.documentation[0].content) > 80 && length(policy.notification_channels) == 1
    ])
    error_message = "An alert without advice or without a channel helps nobody."
  }

  assert {
    condition     = google_monitoring_uptime_check_config.api.http_check[0].path == "/readyz" && google_monitoring_uptime_check_config.api.monitored_resource[0].labels.host == "dropzone-api-x7k2-oa.a.run.app"
    error_message = "Google answers /healthz of Cloud Run services itself."
  }

  assert {
    condition     = google_monitoring_slo.availability.goal == 0.999 && length(google_monitoring_alert_policy.burn_rate) == 4
    error_message = "Each objective has a fast and a slow burn-rate alert."
  }
}

run "a_fixed_number_of_instances_raises_no_alert" {
  variables {
    api      = { min_instances = 2, max_instances = 2 }
    function = { max_instances = 1 }
  }

  assert {
    condition = (
      google_monitoring_alert_policy.threshold["api_instances"].conditions[0].condition_threshold[0].threshold_value == 2 &&
      google_monitoring_alert_policy.threshold["function_instances"].conditions[0].condition_threshold[0].threshold_value == 1
    )
    error_message = "Such an alert would fire all the time."
  }
}

run "the_dashboard_shows_each_signal_that_google_measures" {
  assert {
    condition = [for tile in jsondecode(google_monitoring_dashboard.dropzone.dashboard_json).mosaicLayout.tiles : tile.widget.title] == [
      for signal in jsondecode(file("signals.json")) : signal.title if can(signal.google)
    ]
    error_message = "The charts differ from signals.json."
  }

  assert {
    condition = [
      for tile in jsondecode(google_monitoring_dashboard.dropzone.dashboard_json).mosaicLayout.tiles :
      regex("metric.type=\"([^\"]+)\" resource.type=\"[^\"]+\"", tile.widget.xyChart.dataSets[0].timeSeriesQuery.timeSeriesFilter.filter)[0]
    ] == [for signal in jsondecode(file("signals.json")) : signal.google.metric if can(signal.google)]
    error_message = "Each chart shows the metric of its signal, of one resource type."
  }

  assert {
    condition = [
      for tile in jsondecode(google_monitoring_dashboard.dropzone.dashboard_json).mosaicLayout.tiles : "${try(tile.xPos, 0)} ${try(tile.yPos, 0)}"
    ] == [for index, chart in local.charts : "${index % 2 * 6} ${floor(index / 2) * 4}"]
    error_message = "Each row has two charts."
  }

  assert {
    condition     = !can(regex(":(0[,}]|\\[\\])", google_monitoring_dashboard.dropzone.dashboard_json))
    error_message = "Cloud Monitoring leaves out zeros and empty lists, so each plan would add them again."
  }
}

run "a_budget_needs_a_billing_account" {
  variables {
    billing_account = "01AB23-CD45EF-678901"
    monthly_budget  = 500
  }

  assert {
    condition     = google_billing_budget.dropzone[0].amount[0].specified_amount[0].units == "500" && google_billing_budget.dropzone[0].budget_filter[0].projects == toset(["projects/123456789012"])
    error_message = "The budget covers this project only."
  }

  assert {
    condition     = contains(keys(google_project_service.this), "billingbudgets.googleapis.com")
    error_message = "A budget needs its API."
  }
}

run "a_domain_puts_a_load_balancer_in_front" {
  variables {
    domain = "dropzone.example.org"
  }

  assert {
    condition     = google_cloud_run_v2_service.api.ingress == "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER" && output.api_url == "https://dropzone.example.org"
    error_message = "The run.app URL must not bypass Cloud Armor."
  }

  assert {
    condition     = google_compute_backend_service.api[0].load_balancing_scheme == google_compute_global_forwarding_rule.api[0].load_balancing_scheme && google_compute_backend_service.api[0].security_policy == google_compute_security_policy.api[0].id
    error_message = "The backend needs the policy and the scheme of its forwarding rule."
  }

  assert {
    condition = anytrue([
      for rule in google_compute_security_policy.api[0].rule : try(rule.rate_limit_options[0].rate_limit_threshold[0].count, 0) == 6000 if rule.action == "throttle"
    ])
    error_message = "Each client address has a limit."
  }

  assert {
    condition = anytrue([
      for rule in google_compute_security_policy.api[0].rule : strcontains(try(rule.match[0].expr[0].expression, ""), "request.path.urlDecode() == '/metrics'") if rule.action == "deny(404)"
    ])
    error_message = "An encoded path such as /%6Detrics must not lead to the metrics."
  }

  assert {
    condition     = google_compute_managed_ssl_certificate.api[0].name == "dropzone-api-${substr(sha256("dropzone.example.org"), 0, 8)}"
    error_message = "The certificate of another domain needs another name, because it is created before this one is deleted."
  }

  assert {
    condition     = google_compute_ssl_policy.api[0].min_tls_version == "TLS_1_2"
    error_message = "Old TLS versions are not accepted."
  }
}

run "without_a_domain_there_is_no_load_balancer" {
  assert {
    condition     = length(google_compute_global_forwarding_rule.api) == 0 && !contains(keys(google_project_service.this), "compute.googleapis.com")
    error_message = "A load balancer costs money without requests."
  }
}

run "errors_are_logged_completely" {
  assert {
    condition     = strcontains(google_logging_project_exclusion.requests.filter, "httpRequest.status < 400") && strcontains(google_logging_project_exclusion.requests.filter, "run.googleapis.com/requests")
    error_message = "Only logs of successful requests may be left out."
  }
}
