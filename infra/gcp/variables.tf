variable "project" {
  description = "Id of the Google Cloud project. A project can have one deployment of Dropzone, in the database `(default)`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "Expected a project id: 6 to 30 lowercase letters, digits and hyphens, starting with a letter."
  }
}

variable "region" {
  description = "Region of the Cloud Run services, the image repository and the scheduler, such as `europe-west6`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "Expected a region such as europe-west6, not a zone and not a multi-region."
  }
}

variable "database_location" {
  description = "Location of the Firestore database: a region or a multi-region such as `nam5`. It cannot be changed later. Default: `region`."
  type        = string
  default     = null

  validation {
    condition     = var.database_location == null || can(regex("^([a-z]+-[a-z]+[0-9]+|nam[0-9]+|eur[0-9]+)$", var.database_location))
    error_message = "Expected a Firestore location: a region such as europe-west6, or nam5, nam7 or eur3."
  }
}

variable "image" {
  description = "The container image of API and function, with a digest or a tag: `REGION-docker.pkg.dev/PROJECT/dropzone/dropzone@sha256:...`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9.-]+(/[a-z0-9._-]+)+(@sha256:[0-9a-f]{64}|:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})$", var.image))
    error_message = "Expected an image with a tag or a digest, such as europe-docker.pkg.dev/PROJECT/dropzone/dropzone:1.0."
  }
}

variable "environment" {
  description = "Name of the environment, for labels and for the GitHub environment that may deploy."
  type        = string
  default     = "production"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,62}$", var.environment))
    error_message = "Expected a lowercase name of at most 63 letters, digits and hyphens."
  }
}

variable "labels" {
  description = "Labels of all resources that can have labels, in addition to `application` and `environment`."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition = alltrue([
      for name, value in var.labels :
      can(regex("^[a-z][a-z0-9_-]{0,62}$", name)) && can(regex("^[a-z0-9_-]{0,63}$", value))
    ])
    error_message = "Expected names and values of at most 63 lowercase letters, digits, hyphens and underscores."
  }
}

variable "delete_protection" {
  description = "Whether the database and the services are protected from deletion."
  type        = bool
  default     = true
  nullable    = false
}

variable "daily_backup_days" {
  description = "Number of days for which daily backups are kept. Firestore keeps backups for at most 98 days."
  type        = number
  default     = 7
  nullable    = false

  validation {
    condition     = var.daily_backup_days >= 1 && var.daily_backup_days <= 98 && floor(var.daily_backup_days) == var.daily_backup_days
    error_message = "Expected a whole number from 1 to 98."
  }
}

variable "weekly_backup_weeks" {
  description = "Number of weeks for which weekly backups are kept. Firestore keeps backups for at most 14 weeks."
  type        = number
  default     = 14
  nullable    = false

  validation {
    condition     = var.weekly_backup_weeks >= 1 && var.weekly_backup_weeks <= 14 && floor(var.weekly_backup_weeks) == var.weekly_backup_weeks
    error_message = "Expected a whole number from 1 to 14."
  }
}

variable "shards" {
  description = "Number of shards of the time-ordered indexes; about 400 samples per second each. Never reduce it: samples in removed shards disappear from lists."
  type        = number
  default     = 4
  nullable    = false

  validation {
    condition     = var.shards >= 1 && var.shards <= 512 && floor(var.shards) == var.shards
    error_message = "Expected a whole number from 1 to 512."
  }
}

variable "api" {
  description = <<-EOT
    Size of the API: instances, requests that an instance serves at a time, CPUs, memory.
    `cpu_idle`: pay for CPU only while requests are served. False is cheaper under constant load, and deletions and
    recomputations do not pause between requests.
  EOT
  type = object({
    min_instances = optional(number, 1)
    max_instances = optional(number, 20)
    concurrency   = optional(number, 250)
    cpu           = optional(string, "1")
    memory        = optional(string, "2Gi")
    cpu_idle      = optional(bool, true)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.api.min_instances >= 0 && var.api.max_instances >= 1 && var.api.min_instances <= var.api.max_instances
    error_message = "Expected 0 <= min_instances <= max_instances, and max_instances >= 1."
  }

  validation {
    condition     = var.api.concurrency >= 1 && var.api.concurrency <= 1000
    error_message = "Cloud Run sends 1 to 1000 requests at a time to an instance."
  }

  validation {
    condition     = can(regex("^[1-9][0-9]*[MG]i$", var.api.memory))
    error_message = "Expected memory such as 2Gi or 1536Mi."
  }

  validation {
    condition     = contains(["1", "2", "4", "6", "8"], var.api.cpu)
    error_message = "Expected 1, 2, 4, 6 or 8 CPUs."
  }
}

variable "api_settings" {
  description = "Further settings of the API: environment variables of docs/configuration.md, such as `DROPZONE_DEFAULT_TIME_ZONE`."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name, _ in var.api_settings : can(regex("^DROPZONE_[A-Z0-9_]+$", name))])
    error_message = "Expected names that start with DROPZONE_."
  }

  validation {
    condition     = length(setintersection(keys(var.api_settings), ["DROPZONE_SHARDS", "DROPZONE_MAX_REQUEST_MIB"])) == 0
    error_message = "DROPZONE_SHARDS is the variable `shards`; DROPZONE_MAX_REQUEST_MIB follows from Cloud Run's limit."
  }
}

variable "trace_settings" {
  description = "Environment variables of OpenTelemetry for API and function, such as `OTEL_EXPORTER_OTLP_ENDPOINT`. Without an endpoint, traces are off."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name, _ in var.trace_settings : can(regex("^OTEL_[A-Z0-9_]+$", name))])
    error_message = "Expected names that start with OTEL_."
  }
}

variable "function" {
  description = "Size of the function: instances, events that an instance processes at a time, CPUs, memory."
  type = object({
    min_instances = optional(number, 0)
    max_instances = optional(number, 20)
    concurrency   = optional(number, 80)
    cpu           = optional(string, "1")
    memory        = optional(string, "2Gi")
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.function.min_instances >= 0 && var.function.max_instances >= 1 && var.function.min_instances <= var.function.max_instances
    error_message = "Expected 0 <= min_instances <= max_instances, and max_instances >= 1."
  }

  validation {
    condition     = var.function.concurrency >= 1 && var.function.concurrency <= 1000
    error_message = "Cloud Run sends 1 to 1000 requests at a time to an instance."
  }

  validation {
    condition     = can(regex("^[1-9][0-9]*[MG]i$", var.function.memory))
    error_message = "Expected memory such as 2Gi or 1536Mi."
  }

  validation {
    condition     = contains(["1", "2", "4", "6", "8"], var.function.cpu)
    error_message = "Expected 1, 2, 4, 6 or 8 CPUs."
  }
}

variable "notification_emails" {
  description = "Email addresses that receive alerts. Without any, alerts are visible in the console only."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.notification_emails : can(regex("^[^@\\s]+@[^@\\s]+$", address))])
    error_message = "Expected email addresses."
  }
}

variable "billing_account" {
  description = "Id of the billing account, for the budget: `XXXXXX-XXXXXX-XXXXXX`. Without it no budget is created."
  type        = string
  default     = null

  validation {
    condition     = var.billing_account == null || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "Expected a billing account id such as 01AB23-CD45EF-678901."
  }
}

variable "monthly_budget" {
  description = "Monthly budget of the project, in the currency of the billing account. A budget only sends notifications; it does not limit the costs."
  type        = number
  default     = 200
  nullable    = false

  validation {
    condition     = var.monthly_budget >= 1 && floor(var.monthly_budget) == var.monthly_budget
    error_message = "Expected a whole number, at least 1."
  }
}

variable "github_repository" {
  description = "GitHub repository whose workflows may plan and deploy, as `owner/name`. Without it, no identity for workflows is created."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null || can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "Expected owner/name."
  }
}

variable "state_bucket" {
  description = "Name of the bucket with the Terraform state, which the workflows of `github_repository` may use. Default: `PROJECT-dropzone-state`."
  type        = string
  default     = null
}

variable "domain" {
  description = "Domain name of the API. If set, an external HTTPS load balancer with Cloud Armor serves it, and the run.app URL accepts no external requests."
  type        = string
  default     = null

  validation {
    condition     = var.domain == null || can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$", var.domain))
    error_message = "Expected a lowercase domain name such as dropzone.example.org."
  }
}

variable "max_requests_per_minute_and_address" {
  description = "Requests per minute that Cloud Armor allows a client address, if `domain` is set. Further requests get the status 429."
  type        = number
  default     = 6000
  nullable    = false

  validation {
    condition     = var.max_requests_per_minute_and_address >= 1 && var.max_requests_per_minute_and_address <= 1000000
    error_message = "Expected a number from 1 to 1,000,000."
  }
}
