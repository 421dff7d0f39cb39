# The module ../ describes and validates these. Set them in `terraform.tfvars`, or as TF_VAR_... in the environment.

variable "project" {
  description = "Id of the Google Cloud project."
  type        = string
}

variable "region" {
  description = "Region of the services, such as `europe-west6`."
  type        = string
}

variable "database_location" {
  description = "Location of the Firestore database. Default: the region."
  type        = string
  default     = null
}

variable "image" {
  description = "Container image. `make deploy` builds, pushes and passes it."
  type        = string
}

variable "environment" {
  description = "Name of the environment, for labels."
  type        = string
  default     = "production"
}

variable "labels" {
  description = "Labels of all resources."
  type        = map(string)
  default     = {}
}

variable "delete_protection" {
  description = "Whether the database and the services are protected from deletion."
  type        = bool
  default     = true
}

variable "daily_backup_days" {
  description = "Number of days for which daily backups are kept."
  type        = number
  default     = 7
}

variable "weekly_backup_weeks" {
  description = "Number of weeks for which weekly backups are kept."
  type        = number
  default     = 14
}

variable "shards" {
  description = "Number of shards of the time-ordered indexes. Never reduce it."
  type        = number
  default     = 4
}

variable "api" {
  description = "Size of the API."
  type = object({
    min_instances = optional(number, 1)
    max_instances = optional(number, 20)
    concurrency   = optional(number, 250)
    cpu           = optional(string, "1")
    memory        = optional(string, "2Gi")
    cpu_idle      = optional(bool, true)
  })
  default = {}
}

variable "api_settings" {
  description = "Further settings of the API, as environment variables."
  type        = map(string)
  default     = {}
}

variable "trace_settings" {
  description = "Environment variables of OpenTelemetry for API and function."
  type        = map(string)
  default     = {}
}

variable "function" {
  description = "Size of the function."
  type = object({
    min_instances = optional(number, 0)
    max_instances = optional(number, 20)
    concurrency   = optional(number, 80)
    cpu           = optional(string, "1")
    memory        = optional(string, "2Gi")
  })
  default = {}
}

variable "notification_emails" {
  description = "Email addresses that receive alerts."
  type        = set(string)
  default     = []
}

variable "billing_account" {
  description = "Id of the billing account, for the budget."
  type        = string
  default     = null
}

variable "monthly_budget" {
  description = "Monthly budget, in the currency of the billing account."
  type        = number
  default     = 200
}

variable "github_repository" {
  description = "GitHub repository whose workflows may plan and deploy, as `owner/name`."
  type        = string
  default     = null
}

variable "domain" {
  description = "Domain name of the API, for a load balancer with Cloud Armor."
  type        = string
  default     = null
}

variable "max_requests_per_minute_and_address" {
  description = "Requests per minute that Cloud Armor allows a client address, if `domain` is set."
  type        = number
  default     = 6000
}
