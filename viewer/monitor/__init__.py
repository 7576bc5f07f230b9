"""The Monitor page: control charts by week and by camera."""
