# Events of written samples reach the function; events that it fails to process too often become dead letters.
#
# Eventarc creates a Pub/Sub subscription for the trigger. Terraform can set neither its acknowledgement deadline
# nor its dead-letter topic (provider issues 17697 and 17701). `subscription.sh set` does, after `terraform apply`.

locals {
  # Eventarc always creates one. Only `terraform test`, whose provider creates nothing, needs the second value.
  eventarc_subscription = coalesce(one(flatten(google_eventarc_trigger.sample_written.transport[*].pubsub[*].subscription)), "not-created")
}

resource "google_eventarc_trigger" "sample_written" {
  project                 = var.project
  name                    = "dropzone-sample-written"
  location                = local.database_location # Firestore's events are available in the location of the database
  service_account         = google_service_account.this["eventarc"].email
  event_data_content_type = "application/protobuf"
  labels                  = local.labels

  matching_criteria {
    attribute = "type"
    value     = "google.cloud.firestore.document.v1.written"
  }

  matching_criteria {
    attribute = "database"
    value     = google_firestore_database.this.name
  }

  matching_criteria {
    attribute = "document"
    value     = "submitters/{submitter}/samples/{sample}"
    operator  = "match-path-pattern"
  }

  destination {
    cloud_run_service {
      service = google_cloud_run_v2_service.function.name
      region  = google_cloud_run_v2_service.function.location
      path    = "/"
    }
  }

  # No retry_policy: its only possible value, max_attempts = 1, would switch retries off.

  depends_on = [
    google_project_iam_member.workloads,
    google_cloud_run_v2_service_iam_member.eventarc_calls_function,
  ]
}

resource "google_pubsub_topic" "dead_letters" {
  #checkov:skip=CKV_GCP_83:Google encrypts the topic; a key of the project would be one more thing whose loss loses events
  project                    = var.project
  name                       = "dropzone-dead-letters"
  message_retention_duration = "604800s" # 7 days; a new subscription can read them again
  labels                     = local.labels

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.this]
}

resource "google_pubsub_subscription" "dead_letters" {
  project                    = var.project
  name                       = "dropzone-dead-letters"
  topic                      = google_pubsub_topic.dead_letters.id
  ack_deadline_seconds       = 60
  message_retention_duration = "604800s"
  labels                     = local.labels

  expiration_policy {
    ttl = "" # never
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  push_config {
    push_endpoint = "${google_cloud_run_v2_service.function.uri}/dead-letters"

    oidc_token {
      service_account_email = google_service_account.this["eventarc"].email
      audience              = google_cloud_run_v2_service.function.uri
    }
  }

  depends_on = [
    google_cloud_run_v2_service_iam_member.eventarc_calls_function,
    google_service_account_iam_member.pubsub_signs_requests,
  ]
}

# Pub/Sub moves a message to the dead-letter topic: it publishes there and acknowledges on Eventarc's subscription.
resource "google_pubsub_topic_iam_member" "pubsub_publishes_dead_letters" {
  project = var.project
  topic   = google_pubsub_topic.dead_letters.name
  role    = "roles/pubsub.publisher"
  member  = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "pubsub_acknowledges_dead_letters" {
  project      = var.project
  subscription = local.eventarc_subscription
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}

