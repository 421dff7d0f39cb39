output "api_url" {
  description = "URL of the API."
  value       = module.dropzone.api_url
}

output "function_url" {
  description = "URL of the function. It accepts requests of this project only."
  value       = module.dropzone.function_url
}

output "image_repository" {
  description = "Where `make push` puts images: REGION-docker.pkg.dev/PROJECT/dropzone/dropzone."
  value       = module.dropzone.image_repository
}

output "eventarc_subscription" {
  description = "Pub/Sub subscription of the Eventarc trigger. `subscription.sh` finds it by the trigger."
  value       = module.dropzone.eventarc_subscription
}

output "dead_letter_topic" {
  description = "Pub/Sub topic of the dead letters."
  value       = module.dropzone.dead_letter_topic
}

output "event_audiences" {
  description = "The audiences that the function accepts in identity tokens, separated by commas."
  value       = module.dropzone.event_audiences
}

output "api_key_secret" {
  description = "Secret that holds the API key of the operator."
  value       = module.dropzone.api_key_secret
}

output "keys_job" {
  description = "Cloud Run job that stores the digest of the operator's API key."
  value       = module.dropzone.keys_job
}

output "workload_identity_provider" {
  description = "For the GitHub workflows: the provider that exchanges their tokens. Null without `github_repository`."
  value       = module.dropzone.workload_identity_provider
}

output "deployer_service_account" {
  description = "For the GitHub workflows: the service account that applies. Null without `github_repository`."
  value       = module.dropzone.deployer_service_account
}

output "planner_service_account" {
  description = "For the GitHub workflows: the service account that plans, read only. Null without `github_repository`."
  value       = module.dropzone.planner_service_account
}

output "dashboard_url" {
  description = "The dashboard in the console."
  value       = module.dropzone.dashboard_url
}

output "load_balancer_address" {
  description = "IP address that the DNS record of `domain` must point to. Null without `domain`."
  value       = module.dropzone.load_balancer_address
}
