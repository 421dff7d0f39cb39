output "api_url" {
  description = "URL of the API."
  value       = local.has_load_balancer ? "https://${var.domain}" : google_cloud_run_v2_service.api.uri
}

output "function_url" {
  description = "URL of the function. It accepts requests of this project only."
  value       = google_cloud_run_v2_service.function.uri
}

output "image_repository" {
  description = "Where `make push` puts images: REGION-docker.pkg.dev/PROJECT/dropzone/dropzone."
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}/dropzone"
}

output "eventarc_subscription" {
  description = "Pub/Sub subscription of the Eventarc trigger. `subscription.sh` finds it by the trigger."
  value       = local.eventarc_subscription
}

output "dead_letter_topic" {
  description = "Pub/Sub topic of the dead letters."
  value       = google_pubsub_topic.dead_letters.id
}

output "event_audiences" {
  description = "The audiences that the function accepts in identity tokens, separated by commas."
  value       = local.function_environment.DROPZONE_EVENT_AUDIENCE
}

output "api_key_secret" {
  description = "Secret that holds the API key of the operator."
  value       = google_secret_manager_secret.api_key.secret_id
}

output "keys_job" {
  description = "Cloud Run job that stores the digest of the operator's API key."
  value       = google_cloud_run_v2_job.keys.name
}

output "workload_identity_provider" {
  description = "For the GitHub workflows: the provider that exchanges their tokens. Null without `github_repository`."
  value       = one(google_iam_workload_identity_pool_provider.github[*].name)
}

output "deployer_service_account" {
  description = "For the GitHub workflows: the service account that applies. Null without `github_repository`."
  value       = one(google_service_account.deployer[*].email)
}

output "planner_service_account" {
  description = "For the GitHub workflows: the service account that plans, read only. Null without `github_repository`."
  value       = one(google_service_account.planner[*].email)
}

output "indexes" {
  description = "The keys of the indexes in `google_firestore_index.this`: collection, scope and fields of each."
  value       = keys(local.indexes)
}

output "dashboard_url" {
  description = "The dashboard in the console."
  value       = "https://console.cloud.google.com/monitoring/dashboards/builder/${basename(google_monitoring_dashboard.dropzone.id)}?project=${var.project}"
}

output "load_balancer_address" {
  description = "IP address that the DNS record of `domain` must point to. Null without `domain`."
  value       = one(google_compute_global_address.api[*].address)
}
