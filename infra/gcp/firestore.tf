# The database and its backups. Indexes, exemptions and TTL policies come from firestore.indexes.json,
# which the embedded Firestore reads too.

locals {
  definitions = jsondecode(file("${path.module}/firestore.indexes.json"))

  # The key contains everything that identifies an index: the file can be reordered without rebuilding indexes.
  indexes = {
    for index in local.definitions.indexes :
    join(" ", concat(
      [index.collectionGroup, lower(index.queryScope)],
      [for field in index.fields : "${field.fieldPath}:${lower(try(field.order, field.arrayConfig))}"],
    )) => index
  }

  fields = {
    for field in local.definitions.fieldOverrides : "${field.collectionGroup}.${field.fieldPath}" => field
  }
}

resource "google_firestore_database" "this" {
  project     = var.project
  name        = "(default)"
  location_id = local.database_location
  type        = "FIRESTORE_NATIVE"

  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"
  delete_protection_state           = var.delete_protection ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  deletion_policy                   = "DELETE" # without it, `terraform destroy` would leave the database and its cost

  depends_on = [google_project_service.this]
}

resource "google_firestore_backup_schedule" "daily" {
  project   = var.project
  database  = google_firestore_database.this.name
  retention = "${var.daily_backup_days * 24 * 60 * 60}s"

  daily_recurrence {}
}

resource "google_firestore_backup_schedule" "weekly" {
  project   = var.project
  database  = google_firestore_database.this.name
  retention = "${var.weekly_backup_weeks * 7 * 24 * 60 * 60}s"

  weekly_recurrence {
    day = "SUNDAY"
  }
}

resource "google_firestore_index" "this" {
  for_each = local.indexes

  project     = var.project
  database    = google_firestore_database.this.name
  collection  = each.value.collectionGroup
  query_scope = each.value.queryScope

  dynamic "fields" {
    for_each = each.value.fields

    content {
      field_path   = fields.value.fieldPath
      order        = try(fields.value.order, null)
      array_config = try(fields.value.arrayConfig, null)
    }
  }

  # A removed index is deleted after function and API were updated. Until then, the earlier release queries it.
  lifecycle {
    create_before_destroy = true
  }

  # Firestore can need hours to build an index of many documents. After the default timeout of 20 minutes, Terraform would
  # forget the index, and each later `apply` would fail, because the index exists.
  timeouts {
    create = "24h"
  }
}

resource "google_firestore_field" "this" {
  for_each = local.fields

  project    = var.project
  database   = google_firestore_database.this.name
  collection = each.value.collectionGroup
  field      = each.value.fieldPath

  # An empty block removes all single-field indexes of the field.
  index_config {
    dynamic "indexes" {
      for_each = each.value.indexes

      content {
        query_scope  = try(indexes.value.queryScope, "COLLECTION")
        order        = try(indexes.value.order, null)
        array_config = try(indexes.value.arrayConfig, null)
      }
    }
  }

  dynamic "ttl_config" {
    for_each = try(each.value.ttl, false) ? [true] : []

    content {}
  }

  timeouts {
    create = "24h"
    update = "24h"
    delete = "24h"
  }
}
