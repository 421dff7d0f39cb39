# The indexes that exist in the database but not in the state. `make deploy` lists all indexes in the file.

locals {
  indexes_file     = "${path.module}/existing_indexes.json"
  existing_indexes = jsondecode(fileexists(local.indexes_file) ? file(local.indexes_file) : "[]")

  # Firestore adds the field `__name__` to the end of each index. NAME is projects/P/databases/D/collectionGroups/C/indexes/I.
  index_ids = {
    for index in local.existing_indexes :
    join(" ", concat(
      [split("/", index.name)[5], lower(index.queryScope)],
      [for field in index.fields : "${field.fieldPath}:${lower(try(field.order, field.arrayConfig, "other"))}" if field.fieldPath != "__name__"],
    )) => index.name... # several vector indexes can have the same key
  }
}

import {
  for_each = { for key, ids in local.index_ids : key => ids[0] if contains(module.dropzone.indexes, key) }
  to       = module.dropzone.google_firestore_index.this[each.key]
  id       = each.value
}
