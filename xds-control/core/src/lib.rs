//! The model of the control service: documents, conflicts, resources, versions, change log. Pure.
