# One service account per workload, with the roles that it needs and no basic role (owner, editor, viewer).
# `*_iam_member` adds a binding and leaves the bindings of others alone.

locals {
  service_accounts = {
    api      = "API of Dropzone"
    eventarc = "Sends events, dead letters and the audit schedule to the function of Dropzone"
    function = "Function of Dropzone"
    keys     = "Stores API keys of Dropzone"
  }

  project_roles = {
    "api reads and writes documents"      = { account = "api", role = "roles/datastore.user" }
    "function reads and writes documents" = { account = "function", role = "roles/datastore.user" }
    "keys reads and writes documents"     = { account = "keys", role = "roles/datastore.user" }
    "eventarc receives events"            = { account = "eventarc", role = "roles/eventarc.eventReceiver" }
  }
}

resource "google_service_account" "this" {
  for_each = local.service_accounts

  project      = var.project
  account_id   = "dropzone-${each.key}"
  display_name = each.value

  depends_on = [google_project_service.this]
}

resource "google_project_iam_member" "workloads" {
  for_each = local.project_roles

  project = var.project
  role    = each.value.role
  member  = google_service_account.this[each.value.account].member
}

# The API authenticates its callers itself, by API keys.
resource "google_cloud_run_v2_service_iam_member" "public_api" {
  project  = var.project
  location = google_cloud_run_v2_service.api.location
  name     = google_cloud_run_v2_service.api.name
  role     = "roles/run.invoker"
  member   = "allUsers"
}

resource "google_cloud_run_v2_service_iam_member" "eventarc_calls_function" {
  project  = var.project
  location = google_cloud_run_v2_service.function.location
  name     = google_cloud_run_v2_service.function.name
  role     = "roles/run.invoker"
  member   = google_service_account.this["eventarc"].member
}

# Pub/Sub signs its requests to the function as the service account `dropzone-eventarc`.
resource "google_service_account_iam_member" "pubsub_signs_requests" {
  service_account_id = google_service_account.this["eventarc"].name
  role               = "roles/iam.serviceAccountOpenIdTokenCreator"
  member             = local.pubsub_agent

  depends_on = [google_pubsub_topic.dead_letters] # the identity of Pub/Sub exists once Pub/Sub is in use
}
